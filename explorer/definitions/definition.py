"""The definition of a number."""

from typing import Literal, NamedTuple

Form = Literal["share", "count", "number"]


class Definition(NamedTuple):
    """A number: `about` is a sentence or two, `form` the format of its value.

    `saebench` is the counterpart in SAEBench's core evaluation, and what differs; empty if there is
    none.
    """

    name: str
    about: str
    form: Form = "number"
    saebench: str = ""

    @property
    def hint(self) -> str:
        """The definition, and the same quantity in SAEBench."""
        return f"{self.about} SAEBench: {self.saebench}" if self.saebench else self.about
