"""The registry of published SAEs that comes with SAELens: read from a file, so that it can be
browsed offline and without it.

`workers/saelens_registry.py` writes the file. Nothing here touches the database.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("data") / "saelens_registry.jsonl"
PICKLED_FORMATS = frozenset(
    {"dictionary_learning_1", "qwen_scope", "goodfire", "deepseek_r1", "connor_rob_hook_z"}
)
"""Forms whose weights are Python pickles, which may run code."""
UNSUPPORTED_FORMATS = {"temporal": "it reads whole contexts, not tokens"} | dict.fromkeys(
    PICKLED_FORMATS, "its weights are a pickle, which may run code"
)
"""Forms that cannot be imported, and why."""
MAX_CHARACTERS = 63
"""Of a slug."""


class Entry(NamedTuple):
    """One SAE of the registry. `hook`, `width` and `l0` are None where its names do not tell."""

    release: str
    id: str
    model: str
    repo: str
    form: str
    hook: str | None
    width: int | None
    l0: float | None

    @property
    def source(self) -> str:
        """What `add_sae` takes."""
        return f"{self.release}:{self.id}"

    @property
    def refusal(self) -> str:
        """Why it cannot be imported; empty where it can."""
        return UNSUPPORTED_FORMATS.get(self.form, "")

    @property
    def slug(self) -> str:
        """A slug of its own: its release and id in small letters, dots and dashes; a long one ends
        in digits of their hash.
        """
        words = re.sub(r"[^a-z0-9._-]+", "-", f"{self.release}.{self.id}".lower()).strip("-._")
        if len(words) <= MAX_CHARACTERS:
            return words
        digits = hashlib.sha256(self.source.encode()).hexdigest()[:6]
        return f"{words[: MAX_CHARACTERS - 7].rstrip('-._')}-{digits}"


class Release(NamedTuple):
    """SAEs that were published together."""

    name: str
    model: str
    repo: str
    form: str
    entries: tuple[Entry, ...]

    @property
    def refusal(self) -> str:
        """Why none of it can be imported; empty where it can."""
        return UNSUPPORTED_FORMATS.get(self.form, "")


@cache
def releases() -> dict[str, Release]:
    """Every release by its name."""
    return {
        release.name: release
        for release in map(_release, FILE.read_text(encoding="utf-8").splitlines())
    }


def entries() -> Iterator[Entry]:
    """Every SAE, release by release."""
    for release in releases().values():
        yield from release.entries


def find(source: str) -> Entry:
    """The entry that `release:id` names. `LookupError` in words, with the nearest name, where there
    is none.
    """
    name, _, sae_id = source.partition(":")
    release = releases().get(name)
    if release is None:
        near = _nearest(name, releases())
        raise LookupError(f"SAELens's registry has no release “{name}”.{near}")
    known = {entry.id: entry for entry in release.entries}
    if sae_id not in known:
        near = (
            _nearest(sae_id, known)
            or f" It has {', '.join(list(known)[:5])}{' …' if len(known) > 5 else ''}."
        )
        raise LookupError(f"The release “{name}” has no SAE “{sae_id}”.{near}")
    return known[sae_id]


def names_an_entry(source: str) -> bool:
    """Whether a source is meant as `release:id`: it has a colon, and is no path."""
    return ":" in source and not source.startswith(("/", ".", "~"))


def _nearest(name: str, known: dict[str, Release] | dict[str, Entry]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(f'“{other}”' for other in near)}?" if near else ""


def _release(line: str) -> Release:
    row = json.loads(line)
    name, model, repo, form = row["release"], row["model"], row["repo"], row["form"]
    made = (
        Entry(name, sae_id, model, repo, form, hook, width, l0)
        for sae_id, hook, width, l0 in row["saes"]
    )
    return Release(name, model, repo, form, tuple(made))
