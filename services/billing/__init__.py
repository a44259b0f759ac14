"""The Billing Service: accounts, deposits and payments."""
