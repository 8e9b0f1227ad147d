"""The `python-stdlib` corpus: the running interpreter's own library, as text.

It is real text that is on every machine that can run this program. Three kinds of file are left
out:

- modules on the held-out list (`HELD_OUT`), which the demo model is evaluated on;
- generated tables, where more than a tenth of the characters are numbers or escapes, and whole
  packages of them;
- near-duplicates, where most of the long lines stood in a file that was read before.
"""

import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from features.records import InvalidInput

HELD_OUT = frozenset(
    (
        *(
            "argparse",
            "bisect",
            "calendar",
            "colorsys",
            "csv",
            "difflib",
            "fractions",
            "gzip",
            "heapq",
            "json",
        ),
        *("sched", "shelve", "statistics", "textwrap", "wave", "zipapp"),
    )
)
"""Modules and packages never trained on; their own tests (`test_argparse`, …) are held out with
them.
"""

GENERATED = frozenset({"encodings", "pydoc_data"})
THIRD_PARTY = frozenset({"site-packages", "dist-packages", "__pycache__"})
NUMERALS = re.compile(r"\\[uxU][0-9a-fA-F]+|\b0[xX][0-9a-fA-F]+|\b\d+(?:\.\d+)?\b")
TABLE_SHARE = 0.10
DUPLICATE_SHARE = 0.60
LONG_LINE = 25


def load_documents(held_out: bool = False, root: Path | None = None) -> Iterator[tuple[str, str]]:
    """Yield (path inside the library, text) in sorted order: the training part, or only the
    held-out modules.

    Raises `InvalidInput` (field `source`) where the interpreter came without its sources, as some
    trimmed images do.
    """
    library_root = root or library_folder()
    seen: set[int] = set()
    found = 0
    for path in sorted(library_root.rglob("*.py")):
        name = path.relative_to(library_root)
        if THIRD_PARTY & set(name.parts) or is_held_out(name) != held_out:
            continue
        text = _read(path)
        if text and not (name.parts[0] in GENERATED or is_table(text)) and not _repeats(text, seen):
            found += 1
            yield name.as_posix(), text
    if not found:
        raise InvalidInput(
            "source",
            f"This Python has no library sources in {library_root}. "
            "Install them (Debian: libpython3-stdlib) or use another corpus.",
        )


def library_folder() -> Path:
    """The folder of the running interpreter's library."""
    return Path(sysconfig.get_paths()["stdlib"])


def is_held_out(name: Path) -> bool:
    """Whether a path inside the library belongs to a held-out module, its package or its tests."""
    return any(part.removesuffix(".py").removeprefix("test_") in HELD_OUT for part in name.parts)


def is_table(text: str) -> bool:
    """Whether more than a tenth of the characters are numbers or escapes: a table some program
    wrote.
    """
    return sum(len(match) for match in NUMERALS.findall(text)) > TABLE_SHARE * len(text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (UnicodeDecodeError, OSError):  # the test suite carries files that are broken on purpose
        return ""


def _repeats(text: str, seen: set[int]) -> bool:
    """Whether most long lines of `text` are in `seen`; a text that is kept adds its own."""
    lines = {hash(line) for line in map(str.strip, text.splitlines()) if len(line) >= LONG_LINE}
    if lines and len(lines & seen) > DUPLICATE_SHARE * len(lines):
        return True
    seen |= lines
    return False
