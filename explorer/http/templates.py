"""Templates without their indentation, which a browser does not show either.

A list repeats its rows a hundred times, so indentation is a fifth of a page. Line breaks stay, and
with them the line numbers of errors. Templates must not rely on leading blanks: what is
preformatted comes from variables.
"""

import re

from django.template.base import Origin
from django.template.loaders.filesystem import Loader as FilesystemLoader

INDENTATION = re.compile(r"\n[ \t]+")


class Loader(FilesystemLoader):
    """Loads templates from the file system and removes the blanks at the beginning of lines."""

    def get_contents(self, origin: Origin) -> str:
        return INDENTATION.sub("\n", super().get_contents(origin))
