"""A gateway without an application: held requests, pending commands, idempotency and queries.

An application declares its commands and queries (src/sidecart/edge/declarations.py); everything
else is here.
"""
