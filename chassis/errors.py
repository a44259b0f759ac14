"""Whose fault a failure is decides what happens next: the event's (never a retry) or the world's (always one)."""


class PermanentError(Exception):
    """The event will never get better: it becomes a dead letter, and is answered 200.

    A log may say `what`. `detail`, in somebody else's words, may hold what is in the event: it is for the letter.
    """

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what)
        self.reason = f"{what}: {detail}" if detail else what


class TransientError(Exception):
    """The sidecar, or something behind it, is unreachable: the event is answered 500 and comes again."""


class SidecarUnavailable(TransientError):
    """A call to the sidecar failed, timed out, or was refused."""


class SidecarTimeout(SidecarUnavailable):
    """The sidecar did not answer in time; whether the call was carried out is not known."""


class SidecarUnreachable(SidecarUnavailable):
    """Nothing was handed to the sidecar: no connection could be made."""


class WriteRefused(SidecarUnavailable):
    """The store answers and does not take a write, and no other process wrote the record: it is no lost race."""


class Conflict(Exception):
    """Somebody else saved the record first: load again and decide again."""
