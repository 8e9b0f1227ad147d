"""Lists of words that people give as concepts: a line with [name], then one word or phrase on a line."""

import re

MOST_LISTS = 50
MOST_ENTRIES = 20_000
LONGEST = 200
HEAD = re.compile(r"\[(.*)\]")


def parse(text: str) -> dict[str, list[str]]:
    """The entries of each list by its name, each once; empty lines and those that begin with `#` are left out.

    A list may be given in several parts. `ValueError` with a sentence that names the line and says what is wrong.
    """
    lists: dict[str, list[str]] = {}
    name = ""
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        if len(line) > LONGEST:
            raise ValueError(f"Line {number} has {len(line):,} characters; a name or an entry has at most {LONGEST}.")
        if head := HEAD.fullmatch(line):
            name = head[1].strip()
            if not name:
                raise ValueError(f"Line {number} begins a list without a name: write one between the brackets.")
            lists.setdefault(name, [])
        elif not name:
            raise ValueError(f"Line {number} is in no list: begin with a line such as [animals].")
        else:
            lists[name].append(line)
    _check(lists)
    return {name: list(dict.fromkeys(entries)) for name, entries in lists.items()}


def _check(lists: dict[str, list[str]]) -> None:
    if len(lists) > MOST_LISTS:
        raise ValueError(f"These are {len(lists)} lists; at most {MOST_LISTS} at once.")
    for name, entries in lists.items():
        if not entries:
            raise ValueError(f"The list “{name}” has no entries.")
        if len(entries) > MOST_ENTRIES:
            raise ValueError(f"The list “{name}” has {len(entries):,} entries; at most {MOST_ENTRIES:,}.")
