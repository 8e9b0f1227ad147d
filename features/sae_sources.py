"""Where an SAE to import lies, as a person writes it: a folder, a hub repository, or `release:id`
of SAELens's registry.
"""

import re
from typing import Literal, NamedTuple

from features import saelens_registry

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
Kind = Literal["folder", "hub", "registry"]


class Source(NamedTuple):
    """A source that can be looked up; what it holds is not known yet. `place` is the path, the
    repository or `release:id`.
    """

    kind: Kind
    place: str


def parse_source(text: str) -> Source:
    """The source that `text` means. `LookupError` in words where it can be none."""
    if text.startswith(("/", ".", "~")):
        return Source("folder", text)
    if saelens_registry.names_an_entry(text):
        entry = saelens_registry.find(text)
        if entry.refusal:
            remedy = REMEDY if entry.form in saelens_registry.PICKLED_FORMATS else ""
            raise LookupError(f"{text} cannot be imported: {entry.refusal}.{remedy}")
        return Source("registry", text)
    if REPOSITORY.fullmatch(text):
        return Source("hub", text)
    if text in saelens_registry.releases():
        first = saelens_registry.releases()[text].entries[0]
        raise LookupError(
            f"“{text}” is a release of SAELens's registry: add the id of one of its SAEs, such "
            f"as {first.source}."
        )
    raise LookupError(
        "Write the path of a folder (/data/sae), a hub repository (owner/name), or an entry of "
        "SAELens's registry (release:id)."
    )


REMEDY = (
    " Where you trust it, convert it in a place of its own: load it with SAELens, write it with "
    "save_model, which makes"
    " safetensors, and import that folder."
)
