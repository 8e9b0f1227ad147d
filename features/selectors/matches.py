"""Reads of matches between SAEs: which pairs were matched, and the features of a pair with their
nearest.
"""

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Q, QuerySet

from features.db import keyset
from features.models import Feature, Match, Matching, Sae
from features.selectors.snippets import snippets
from features.token_spans import Span

ORDERS = {
    "-cosine": "cosine, nearest first",
    "cosine": "cosine, farthest first",
    "index": "index",
}
KEYS = {"-cosine": ["-cosine", "index"], "cosine": ["cosine", "index"], "index": ["index"]}
PAGE = 50


class MatchRow(NamedTuple):
    """A feature and its nearest in the other SAE, each with a snippet of its best example; None
    where it is not computed.
    """

    match: Match
    feature: Feature | None
    other: Feature | None
    snippet: list[Span]
    other_snippet: list[Span]


class MatchPage(NamedTuple):
    """A page of them, and the cursor of the next page (empty at the end)."""

    rows: list[MatchRow]
    next: str


def pairs(model: str, sae: str = "") -> QuerySet[Matching]:
    """Pairs of SAEs of a model that were matched, or those of one SAE, each way a row."""
    rows = Matching.objects.filter(sae__model__slug=model).select_related(
        "sae__model", "other__model"
    )
    if sae:
        rows = rows.filter(sae__slug=sae)
    return rows.order_by("sae__slug", "other__slug")


def pair(sae: Sae, other: str) -> Matching:
    """How the features of `sae` find their nearest in the SAE of slug `other`. Raises
    `Matching.DoesNotExist`.
    """
    return Matching.objects.select_related("sae__model", "other__model").get(
        sae=sae, other__slug=other
    )


def rows(matching: Matching) -> QuerySet[Match]:
    """All matches of a pair."""
    return Match.objects.filter(sae=matching.sae_id, other=matching.other_id)


def page(
    matching: Matching, *, order: str = "-cosine", cursor: str = "", size: int = PAGE
) -> MatchPage:
    """One page of matches with their snippets, in four queries. Raises `keyset.BadCursor`."""
    found, after = keyset.page(
        rows(matching),
        KEYS[order],
        limit=size,
        cursor=cursor,
        of=f"matches {matching.sae_id} {matching.other_id}",
    )
    return MatchPage(_with_snippets(matching, found), after)


def _with_snippets(matching: Matching, found: Sequence[Match]) -> list[MatchRow]:
    ours = Q(sae=matching.sae_id, index__in=[row.index for row in found])
    theirs = Q(sae=matching.other_id, index__in=[row.other_index for row in found])
    needed = Feature.objects.filter(ours | theirs).only(
        "sae_id", "index", "density", "max_activation", "fires"
    )
    known = {(row.sae_id, row.index): row for row in needed}
    seen = snippets(known.values(), matching.sae.model_id) if known else {}
    listed = []
    for match in found:
        pair = (
            known.get((match.sae_id, match.index)),
            known.get((match.other_id, match.other_index)),
        )
        listed.append(
            MatchRow(match, *pair, *(seen.get(one.pk, []) if one else [] for one in pair))
        )
    return listed
