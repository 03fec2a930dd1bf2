"""What this package raises."""


class VRSError(ValueError):
    """A value that is not allowed; the message is one sentence: what was wrong, where, and what is allowed."""
