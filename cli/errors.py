"""What the launcher can fail with; each is shown to a person as one line that says what to do."""


class LaunchError(Exception):
    """Something a person has to act on: the message is the line that is shown."""


class Interrupted(Exception):
    """Somebody asked for a stop while the launcher was waiting for something."""
