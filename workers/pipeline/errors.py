"""The one error of the pipeline that a user can mend."""


class BadInput(ValueError):
    """A setting that cannot work: `field` names it as the form does, the message says what is allowed."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
