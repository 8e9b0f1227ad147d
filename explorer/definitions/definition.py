"""What is said of one number."""

from typing import Literal, NamedTuple

Form = Literal["share", "count", "number"]


class Definition(NamedTuple):
    """One number: `about` is a sentence or two; `form` is how its value is written.

    `saebench` is the same quantity in SAEBench's core evaluation, and what differs; empty where it
    has none.
    """

    name: str
    about: str
    form: Form = "number"
    saebench: str = ""
