"""Slugs: the words that URLs consist of."""

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

FIXED_WORDS = frozenset(
    [
        "search",
        "playground",
        "steer",
        "labels",
        "collections",
        "jobs",
        "accounts",
        "admin",
        "api",
        "static",
        "healthz",
        "events",
        "pattern",
        "about",
        "registry",
        "compare",
    ]
)
"""First path segments of our own pages, which no model may take."""

SAE_WORDS = frozenset(["compare"])
"""Second path segments of our own pages, which no SAE may take."""

is_slug = RegexValidator(
    r"\A[a-z0-9][a-z0-9._-]{0,62}\Z",
    "Use 1 to 63 small letters, digits, dots, dashes or underscores, beginning with a letter or "
    "digit.",
    code="slug",
)


def not_a_fixed_word(slug: str) -> None:
    """Raise `ValidationError` where `slug` is the address of one of our own pages."""
    if slug in FIXED_WORDS:
        raise ValidationError(
            f"“{slug}” is the address of a page here; choose another slug.", code="fixed_word"
        )


def not_a_page_of_a_model(slug: str) -> None:
    """Raise `ValidationError` where `slug` is the address of a page that every model has."""
    if slug in SAE_WORDS:
        raise ValidationError(
            f"“{slug}” is the address of a page here; choose another slug.", code="fixed_word"
        )
