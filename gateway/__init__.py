"""The gateway of the shop: what it declares to the edge."""
