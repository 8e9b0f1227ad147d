"""Names of what lies on the machine, as strangers may see them."""

import re
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
