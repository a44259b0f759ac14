"""The ends of a call without an answer."""


class NotConnected(Exception):
    """No connection could be opened, or the server states that it did not process the call."""


class BrokenOff(Exception):
    """The connection or the stream ended before the response was complete.

    The request may or may not have been carried out.
    """


class NotProcessed(Exception):
    """The server states that it did not process the call: it can be sent again."""
