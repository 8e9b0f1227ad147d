"""The `python-stdlib` corpus: the source files of the running interpreter's standard library.

It is real text, and available on every machine that can run this program. Left out are:

- held-out modules (`HELD_OUT`) with their tests, unless they are asked for
- generated tables, where more than a tenth of the characters are numbers or escapes
- near-duplicates, where most of the long lines are in a file that was loaded before
"""

import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from features.records import InvalidInput

HELD_OUT = frozenset(
    {
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
        "sched",
        "shelve",
        "statistics",
        "textwrap",
        "wave",
        "zipapp",
    }
)
"""Modules and packages that are never trained on, nor are their tests (`test_argparse`, …)."""

GENERATED = frozenset({"encodings", "pydoc_data"})
THIRD_PARTY = frozenset({"site-packages", "dist-packages", "__pycache__"})
NUMERALS = re.compile(r"\\[uxU][0-9a-fA-F]+|\b0[xX][0-9a-fA-F]+|\b\d+(?:\.\d+)?\b")
TABLE_SHARE = 0.10
DUPLICATE_SHARE = 0.60
LONG_LINE = 25


def load_documents(held_out: bool = False, root: Path | None = None) -> Iterator[tuple[str, str]]:
    """Yield (path in the library, text) in sorted order: the training part or the held-out modules.

    `root` is the library's folder, by default that of the running interpreter. Raises
    `InvalidInput("source")` if it has no sources, as in some trimmed images.
    """
    library = root or library_folder()
    known_lines: set[int] = set()
    empty = True
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library)
        if THIRD_PARTY & set(name.parts) or is_held_out(name) != held_out:
            continue
        text = _load_text(path)
        generated = name.parts[0] in GENERATED or is_table(text)
        if text and not generated and not _is_near_duplicate(text, known_lines):
            empty = False
            yield name.as_posix(), text
    if empty:
        raise InvalidInput(
            "source",
            f"This Python has no library sources in {library}. "
            "Install them (Debian: libpython3-stdlib) or use another corpus.",
        )


def library_folder() -> Path:
    """Return the folder of the running interpreter's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def is_held_out(name: Path) -> bool:
    """Return whether a path in the library is part of a held-out module, package or its tests."""
    return any(part.removesuffix(".py").removeprefix("test_") in HELD_OUT for part in name.parts)


def is_table(text: str) -> bool:
    """Return whether more than a tenth of the characters are numbers or escapes."""
    return sum(len(match) for match in NUMERALS.findall(text)) > TABLE_SHARE * len(text)


def _load_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (UnicodeDecodeError, OSError):  # some files of the test suite are broken on purpose
        return ""


def _is_near_duplicate(text: str, known_lines: set[int]) -> bool:
    """Whether most long lines of `text` are in `known_lines`. If not, its lines are added."""
    lines = {hash(line) for line in map(str.strip, text.splitlines()) if len(line) >= LONG_LINE}
    if lines and len(lines & known_lines) > DUPLICATE_SHARE * len(lines):
        return True
    known_lines |= lines
    return False
