"""HTML from pieces, for tags that write hundreds of rows of a page.

As in Django's own `format_html`, whatever is not marked safe is escaped, so that no caller escapes
by hand. Django's takes three times as long, since it looks for lazy translations, which this site
has none of: 1.2 ms of the 18 ms of a feature's page.
"""

from collections.abc import Iterable
from html import escape

from django.utils.safestring import SafeString


def format_row(template: str, *values: str | int) -> SafeString:
    """The template with a value for each `%s`, escaped unless it is a number or marked safe."""
    return SafeString(
        template
        % tuple(value if isinstance(value, SafeString | int) else escape(value) for value in values)
    )


def concatenated(parts: Iterable[SafeString]) -> SafeString:
    """Pieces of HTML as one; `str.join` alone forgets that they are safe."""
    return SafeString("".join(parts))
