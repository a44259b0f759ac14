"""The launcher: starts, watches and stops the shop, and the tools around it."""
