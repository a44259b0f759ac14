"""A client of gRPC's unary calls that frames HTTP/2 itself (ADR 73).

`Channel` takes calls. `Connection` does the I/O of one connection. The other modules do none:
frames, header blocks, settings, request bodies under flow control, and the state of one call.
"""
