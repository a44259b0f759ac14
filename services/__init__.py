"""The four services: each a pure step, wired to the chassis."""
