"""Measurements of a running shop; none of them is a test."""
