"""Tools for tests of a whole running project: a tap on its events."""
