"""Starts, supervises and stops a whole project: its servers, sidecars, apps and live page."""
