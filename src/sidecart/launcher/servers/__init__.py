"""One module per server that the launcher can start.

Outside of the doctor's rules, no other Python names a server.
"""
