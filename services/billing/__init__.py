"""The Billing Service: accounts, deposits and payments; it owns the money."""
