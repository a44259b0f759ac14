"""A small token issuer for one machine: it signs access tokens and serves its public keys."""
