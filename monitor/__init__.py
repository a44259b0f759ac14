"""The live page: the shop's events as they pass, for whoever looks; nothing of the shop needs it."""
