"""The exceptions of the chassis, by their consequence.

A permanent error lies in the event, which is never retried. A transient error lies in the
environment, and its event is always retried.
"""


class PermanentError(Exception):
    """The event can never succeed: it becomes a dead letter, and the app answers 200.

    `what` is safe to log. `detail` quotes a library, and so may contain data of the event; it
    belongs only in the dead letter.
    """

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what)
        self.reason = f"{what}: {detail}" if detail else what


class TransientError(Exception):
    """The sidecar, or a server behind it, is unavailable.

    The app answers 500, and the event is redelivered.
    """


class SidecarUnavailable(TransientError):
    """A call to the sidecar failed, timed out, or was refused."""


class SidecarTimeout(SidecarUnavailable):
    """The sidecar did not answer in time; the call may or may not have been carried out."""


class SidecarUnreachable(SidecarUnavailable):
    """The call was not carried out.

    No connection to the sidecar could be opened, or the sidecar states that it did not process it.
    """


class NotSent(SidecarUnavailable):
    """The event was not sent, because publishing is blocked."""


class WriteRefused(SidecarUnavailable):
    """The store answers but refuses the write, and no other process changed the record."""


class Conflict(Exception):
    """Another process saved the record first: load it and decide again."""
