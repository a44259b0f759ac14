"""The shop's part of the tools around it: what only this project knows about its own data."""
