"""The Loyalty Service: points for paid orders."""
