"""What `shared.llm` raises. Each message is one sentence saying what was wrong, and what is allowed."""


class ModelError(ValueError):
    """A model cannot be loaded or reached as asked."""


class RequestError(ValueError):
    """A request is not well formed, or asks for what the backend cannot do."""


class RecordingError(ValueError):
    """A cache or recording cannot be read or written, or does not hold what was asked."""


class Stopped(RuntimeError):
    """A batch was stopped before its end; what was answered until then is kept, and a second run goes on from there.

    `reason` is one of "credentials", "quota", "model", "failures", "budget", "cancelled".
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
