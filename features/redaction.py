"""Names of what lies on the machine, as strangers may see them."""

import re
from collections.abc import Collection
from pathlib import PurePath

FOLDERS = re.compile(r"(?<![\w/.:~])(?:file://|~)?/(?:[^\s/:;,'\"“”]+/)+(?=[^\s/])")
"""The folders before the last part of an absolute path; never a part of an address or of
owner/name.
"""


def of_source(source: str) -> str:
    """A hub id as it is; of a file or folder only its last part, for where it lies is the machine's
    own business.
    """
    return PurePath(source).name if source.startswith(("/", "~", ".")) else source


def without_folders(text: str) -> str:
    """A message in which paths of the machine keep their last part alone."""
    return FOLDERS.sub("", text)


ALIASES = {
    "gpt2-small": "gpt2",
    "mistral-7b": "mistral-7b-v0.1",
    "llama-3-8b": "meta-llama-3-8b",
    "llama-3.1-8b": "meta-llama-3.1-8b",
}
"""Names that TransformerLens gives to models, and those of their repositories."""


def of_model(name: str) -> str:
    """What two names of one model have in common: the last part, in small letters, by the name of
    its repository.
    """
    last = name.rstrip("/").rpartition("/")[2].lower().removesuffix("-hf")
    return ALIASES.get(last, last)


def same_model(claimed: str, known_as: Collection[str]) -> bool:
    """Whether a name of a model means one of `known_as`."""
    return of_model(claimed) in {of_model(name) for name in known_as}
