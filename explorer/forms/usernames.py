"""User names that cannot be taken for another: one script, composed letters, and no word that only
looks like a Latin one.

Django allows every letter of Unicode in a name. By Unicode's list of confusables half of the
Cyrillic alphabet is confusable, which would refuse every Russian name; what deceives is a mixture
of scripts, or a whole word of look-alikes.
"""

import unicodedata

from django.core.exceptions import ValidationError

SIGNS = frozenset("0123456789@.+-_")
OWN_LATIN = frozenset("ßøæœđłþð")
"""Latin letters of some languages that are not accented forms of a to z."""
TOGETHER = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK"}
"""Scripts that are written together."""
LOOKALIKES = frozenset("асеорхуіјѕһԁԛԝӏҽѵ" + "αονρυικ")
"""Small Cyrillic and Greek letters that look like Latin ones."""


def distinct(name: str) -> None:
    """Raise `ValidationError` if a name could be taken for another one."""
    if unicodedata.normalize("NFKC", name) != name:
        raise ValidationError(
            "Write it with plain letters: some of these are variants of others.", code="lookalike"
        )
    letters = [c for c in name.lower() if c not in SIGNS]
    scripts = {_script(c) for c in letters}
    if len(scripts) > 1:
        raise ValidationError(
            "Use the letters of one alphabet: some look alike in two.", code="lookalike"
        )
    if scripts == {"LATIN"} and not all(_plain(c) for c in letters):
        raise ValidationError(
            "Some of these letters look like a to z and are not; use those.", code="lookalike"
        )
    if letters and all(c in LOOKALIKES for c in letters):
        raise ValidationError(
            "This looks like a name in Latin letters and is not; choose another.", code="lookalike"
        )


def _script(letter: str) -> str:
    first = unicodedata.name(letter, "?").partition(" ")[0]
    return TOGETHER.get(first, first)


def _plain(letter: str) -> bool:
    base = unicodedata.normalize("NFD", letter)[0]
    return base.isascii() or letter in OWN_LATIN
