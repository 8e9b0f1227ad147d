"""Search by token: features whose top examples peak on it, and features that promote it in the
logits.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.db import connection
from django.db.models import Max, Sum

from features.character_names import bytes_of_names, token_text
from features.models import Feature, Peak, Sae, Token
from features.selectors.snippets import snippets
from features.token_spans import Span, visible

SIGNS = str.maketrans({"␣": " ", "↵": "\n", "⇥": "\t", "␍": "\r"})


class MatchingToken(NamedTuple):
    """A token that a search matches; `text` shows blanks as signs and hidden characters by name,
    `plain` as they are.
    """

    token_id: int
    text: str
    plain: str


class Peaking(NamedTuple):
    """A feature with the number of its top examples that peak on one of the tokens."""

    feature: Feature
    examples: int
    snippet: list[Span]


class Promoting(NamedTuple):
    """A feature with one of the tokens among its ten highest logits, and the largest effect on any
    of them.
    """

    feature: Feature
    logit: float
    snippet: list[Span]


class TokenSearch(NamedTuple):
    """The result of a search by token: the matching tokens, and two lists of features."""

    tokens: list[MatchingToken]
    peaks: list[Peaking]
    promotes: list[Promoting]


def search(saes: Sequence[Sae], token: str, limit: int = 50) -> TokenSearch:
    """Features of SAEs of one model by a token. Five queries.

    Peaks are ordered by the number of top examples, then by the feature's maximum; promoting
    features by the size of the logit effect.
    """
    tokens = matching_tokens(saes[0].model_id, token)
    ids = [token.token_id for token in tokens]
    peaks, promotes = _peaks(saes, ids, limit), _promotes(saes, ids, limit)
    of = {sae.pk: sae for sae in saes}
    wanted = [pk for pk, _ in [*peaks, *promotes]]
    rows = Feature.objects.only("sae_id", "index", "density", "max_activation", "fires").in_bulk(
        wanted
    )
    for row in rows.values():
        row.sae = of[row.sae_id]
    seen = snippets(rows.values(), saes[0].model_id) if rows else {}
    return TokenSearch(
        tokens,
        [Peaking(rows[pk], times, seen.get(pk, [])) for pk, times in peaks],
        [Promoting(rows[pk], logit, seen.get(pk, [])) for pk, logit in promotes],
    )


def matching_tokens(model_id: int, token: str) -> list[MatchingToken]:
    """Tokens that match `token`: exactly as written first, then with or without a leading blank, in
    other cases.
    """
    written = [*(spelling.encode() for spelling in spellings(token)), *_named_bytes(token)]
    wanted = {raw: place for place, raw in reversed(list(enumerate(written)))}
    rows = Token.objects.filter(model_id=model_id, text__in=wanted, special=False)
    found = [(bytes(text), token_id) for token_id, text in rows.values_list("token_id", "text")]
    found.sort(key=lambda row: (wanted[row[0]], row[1]))
    return [
        MatchingToken(token_id, visible(token_text(raw)), token_text(raw))
        for raw, token_id in found
    ]


def _named_bytes(token: str) -> list[bytes]:
    """The bytes of a token whose characters are written by name: U+200B, or <0xE2>."""
    raw = bytes_of_names(token.translate(SIGNS))
    if not raw or raw == token.encode():
        return []
    word = raw.strip()
    return [raw, word, b" " + word] if word else [raw]


def spellings(token: str) -> list[str]:
    """All spellings of a token that a search matches, the most likely first; signs for blanks are
    understood.
    """
    meant = token.translate(SIGNS)
    word = meant.strip()
    cases = dict.fromkeys([word, word.lower(), word.capitalize(), word.upper()]) if word else {}
    every = [token, meant, *(blank + case for case in cases for blank in (" ", ""))]
    return [spelling for spelling in dict.fromkeys(every) if spelling]


def _peaks(saes: Iterable[Sae], ids: list[int], limit: int) -> list[tuple[int, int]]:
    rows = Peak.objects.filter(sae__in=saes, token_id__in=ids).values("feature_id")
    ranked = rows.annotate(times=Sum("examples"), highest=Max("maximum")).order_by(
        "-times", "-highest", "feature_id"
    )
    return list(ranked.values_list("feature_id", "times")[:limit])


def _promotes(saes: Iterable[Sae], ids: list[int], limit: int) -> list[tuple[int, float]]:
    """Read through the index of `top_logit_ids`; `greatest` ignores tokens that a feature does not
    have there.
    """
    logits = ", ".join(["f.top_logits[array_position(f.top_logit_ids, %s::int4)]"] * len(ids))
    if not ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, most FROM (SELECT f.id, greatest({logits}) AS most FROM features_feature f"
            " WHERE f.sae_id = ANY(%s) AND f.top_logit_ids && %s::int4[]) AS up"
            " WHERE most > 0 ORDER BY most DESC, id LIMIT %s",
            [*ids, [sae.pk for sae in saes], ids, limit],
        )
        return list(cursor.fetchall())
