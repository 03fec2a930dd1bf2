"""The one error that the package raises on purpose."""


class PDDLGenError(ValueError):
    """A refusal; its message is one sentence that says what is wrong, where, and what is allowed."""
