"""The launcher: starts, watches and stops a system, and the tools around it."""
