"""The live page: shows events as they are published; no app depends on it."""
