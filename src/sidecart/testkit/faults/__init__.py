"""The fault suite: a running project under load while its processes and connections fail."""
