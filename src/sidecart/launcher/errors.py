"""The errors of the launcher."""


class LaunchError(Exception):
    """An error that the caller can fix. The message is one line that says what to do."""


class Interrupted(Exception):
    """A stop was requested while the launcher waited."""
