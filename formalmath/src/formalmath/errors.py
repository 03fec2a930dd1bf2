"""What this package refuses. Each message is one sentence: what is wrong, where, and what is allowed."""


class FormalMathError(ValueError):
    """A setting, a file or a record that cannot be used as given."""


class StatementError(FormalMathError):
    """A text that is no Lean statement ending in `:= by`."""


class Unsupported(Exception):
    """A term, formula or tactic outside the fragment: never a verdict."""


class Unsure(Exception):
    """A value inside the fragment that could not be decided exactly."""
