"""Lists of words that people give as concepts: a line with [name], then one word or phrase on a
line.
"""

import re
from collections.abc import Iterator

MAX_LISTS = 50
MAX_ENTRIES = 20_000
LONGEST = 200
HEAD = re.compile(r"\[(.*)\]")


def parse(text: str) -> dict[str, list[str]]:
    """The entries of each list by its name, each once; empty lines and those that begin with `#`
    are left out.

    A list may be given in several parts. `ValueError` with a sentence that names the line and says
    what is wrong.
    """
    lists: dict[str, list[str]] = {}
    name = ""
    for number, line in _lines(text):
        if head := HEAD.fullmatch(line):
            name = head[1].strip()
            if not name:
                raise ValueError(
                    f"Line {number} begins a list without a name: write one between the brackets."
                )
            lists.setdefault(name, [])
        elif not name:
            raise ValueError(f"Line {number} is in no list: begin with a line such as [animals].")
        else:
            lists[name].append(line)
    _check(lists)
    return {name: list(dict.fromkeys(entries)) for name, entries in lists.items()}


def entries(text: str) -> list[str]:
    """The entries of one list that is kept by itself. `ValueError` as in `parse`."""
    found = []
    for number, line in _lines(text):
        if HEAD.fullmatch(line):
            raise ValueError(
                f"Line {number} begins another list: keep each under a name of its own."
            )
        if not all(character.isprintable() or character == "\t" for character in line):
            raise ValueError(f"Line {number} holds a control character.")
        found.append(line)
    _check({"": found})
    return list(dict.fromkeys(found))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if len(line) > LONGEST:
            raise ValueError(
                f"Line {number} has {len(line):,} characters; a name or an entry has at most "
                f"{LONGEST}."
            )
        if line and not line.startswith("#"):
            yield number, line


def _check(lists: dict[str, list[str]]) -> None:
    if len(lists) > MAX_LISTS:
        raise ValueError(f"These are {len(lists)} lists; at most {MAX_LISTS} at once.")
    for name, entries in lists.items():
        if not entries:
            raise ValueError(
                f"The list “{name}” has no entries." if name else "The list has no entries."
            )
        if len(entries) > MAX_ENTRIES:
            of = f" “{name}”" if name else ""
            raise ValueError(f"The list{of} has {len(entries):,} entries; at most {MAX_ENTRIES:,}.")
