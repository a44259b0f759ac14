"""The parts of the shop beside its services: the demo, and its words on the live page."""
