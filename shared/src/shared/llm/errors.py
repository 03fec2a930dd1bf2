"""What the model loaders raise."""


class ModelError(ValueError):
    """A model cannot be loaded as asked; the message is one sentence saying what, and what is allowed."""
