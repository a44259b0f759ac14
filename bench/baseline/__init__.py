"""The baseline: the same shop without sidecars, on FastStream, to measure the cost of the sidecars.

Its apps connect directly to the broker and to Redis. The business rules (the services' domains),
the validation of bodies and events, and the gateway's guarantees are the product's own code.
FastStream and redis-py carry events and records, in the way that their own users would write it.
"""
