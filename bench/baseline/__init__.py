"""The baseline: the same shop without sidecars, on FastStream, to measure what the sidecars cost.

Its apps speak to the broker and to Redis themselves. What decides (the services' domains), what is checked (bodies,
events) and what the gateway promises is ours; how events and records get from one process to another is FastStream's
and redis-py's, as their own users would write it.
"""
