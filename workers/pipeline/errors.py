"""The errors of the pipeline that a user can mend, or that mend themselves."""


class BadInput(ValueError):
    """A setting that cannot work: `field` names it as the form does, the message says what is
    allowed.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class Unavailable(BadInput):
    """What a setting names cannot be had now, but perhaps in a while: a hub that does not answer, a
    download that broke off.
    """
