"""The live page: shows the shop's events as they are published; the shop does not depend on it."""
