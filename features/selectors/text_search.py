"""Search by text: features that fire on it, ranked on chosen tokens, or by the difference between
two texts.

Positions count the tokens of the text without the BOS that some SAEs need, so all SAEs share them.
`InvalidInput` and `NoAnswer` pass through all functions.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db import connection

from features.inference.text_activations import TextReading, read_context, read_text
from features.models import Feature, Sae
from features.selectors.snippets import snippets
from features.selectors.text_ranking import Firings, Key, Ranked, by_feature, rank, tell_apart
from features.token_spans import Span, alpha

MOST_FOUND = 64
"""As many as are known of one token of an SAE: where one token is chosen, every feature that fires
on it is found.
"""
PER_TOKEN = 5
"""Features named with each token."""


class Text(NamedTuple):
    """A text with its token spans, the positions that count (not those of special tokens), and its
    firings.
    """

    tokens: list[Span]
    counted: list[int]
    firings: Firings


class Known(NamedTuple):
    """Statistics of a feature that may be shown."""

    pk: int
    maximum: float


class Found(NamedTuple):
    """A matching feature with the value it is ranked by, and the text around the peak of its best
    example.
    """

    feature: Feature
    value: float
    snippet: list[Span]

    @property
    def name(self) -> str:
        """Its SAE's slug and its index, as the query string names it."""
        return f"{self.feature.sae.slug}/{self.feature.index}"


class Strong(NamedTuple):
    """A feature that fires on a token."""

    sae: Sae
    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    value: float


class Box(NamedTuple):
    """A token span with the features that fire on it most strongly, out of `firing`."""

    span: Span
    strongest: list[Strong]
    firing: int


class TextSearch(NamedTuple):
    """Matching features, how many are `hidden` as too dense, and each text under the
    shown feature.
    """

    found: list[Found]
    hidden: int
    shown: Found | None
    texts: list[list[Box]]


class Wanted(NamedTuple):
    """How to search. `chosen` are positions, none for all; `scaled` ranks by shares of each
    feature's own maximum; `shown` names the feature to show on the texts, the first match by
    default.
    """

    by: str = "sum"
    chosen: Sequence[int] = ()
    density_max: float = 1.0
    scaled: bool = False
    shown: str = ""


def load_text(saes: Sequence[Sae], text: str) -> Text:
    """Load the activations of a text once for all SAEs, which belong to one model."""
    readings = read_text(saes, text)
    fired = {reading.sae.slug: reading.fired[_head(reading) :] for reading in readings}
    head = _head(readings[0])
    tokens = [
        span._replace(position=span.position - head)
        for span in readings[0].tokens
        if span.position >= head
    ]
    counted = [place for span in tokens if not span.special for place in _places(span)]
    return Text(tokens, counted, by_feature(fired))


def read_stored(sae: Sae, token_ids: Sequence[int]) -> Text:
    """Load the activations of a stored context; positions count from its first token."""
    reading = read_context(sae, token_ids)
    counted = [place for span in reading.tokens if not span.special for place in _places(span)]
    return Text(reading.tokens, counted, by_feature({sae.slug: reading.fired}))


def search(saes: Sequence[Sae], text: Text, wanted: Wanted) -> TextSearch:
    """Features of a text, ranked on the chosen tokens. Four queries."""
    known = _feature_scales(saes, text.firings, wanted.density_max)
    chosen = [place for place in text.counted if place in set(wanted.chosen)] or text.counted
    ranked = rank(_scaled(text.firings, known, wanted.scaled), chosen, text.counted, wanted.by)
    return _search(saes, [text], known, ranked, wanted)


def compare(saes: Sequence[Sae], first: Text, second: Text, wanted: Wanted) -> TextSearch:
    """Features that differ between two texts, by difference of means or of maxima. Four queries."""
    known = _feature_scales(saes, {**first.firings, **second.firings}, wanted.density_max)
    firings = [_scaled(text.firings, known, wanted.scaled) for text in (first, second)]
    by = "max" if wanted.by == "max" else "mean"
    ranked = tell_apart(firings[0], len(first.counted), firings[1], len(second.counted), by)
    return _search(saes, [first, second], known, ranked, wanted)


def _head(reading: TextReading) -> int:
    """The number of tokens before the text, as `steering.text_activations` of the workers adds
    them.
    """
    return int(reading.sae.prepend_bos and reading.sae.model.bos_token_id is not None)


def _places(span: Span) -> range:
    return range(span.position, span.position + len(span.token_ids))


def _feature_scales(
    saes: Iterable[Sae], keys: Iterable[Key], density_max: float
) -> dict[Key, Known | None]:
    """Statistics by feature, None if it is too dense. One query with two arrays for thousands of
    features.
    """
    of = {sae.slug: sae.pk for sae in saes}
    slugs = {pk: slug for slug, pk in of.items()}
    wanted = [(of[slug], index) for slug, index in keys]
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT f.id, sae_id, "index", f.density, f.max_activation FROM features_feature f'
            ' JOIN unnest(%s::int8[], %s::int4[]) AS wanted(sae_id, "index") USING (sae_id, '
            '"index")',
            [[sae for sae, _ in wanted], [index for _, index in wanted]],
        )
        return {
            (slugs[sae], index): Known(pk, maximum) if density <= density_max else None
            for pk, sae, index, density, maximum in cursor.fetchall()
        }


def _scaled(firings: Firings, known: Mapping[Key, Known | None], scaled: bool) -> Firings:
    """Firings of the features that are known, in activations or in shares of each one's maximum."""
    kept = {}
    for key, at in firings.items():
        if key in known:
            maximum = (known[key] or Known(0, 0.0)).maximum or max(at.values())
            kept[key] = {place: value / maximum for place, value in at.items()} if scaled else at
    return kept


def _search(
    saes: Sequence[Sae],
    texts: Sequence[Text],
    known: Mapping[Key, Known | None],
    ranked: list[Ranked],
    wanted: Wanted,
) -> TextSearch:
    sparse = [row for row in ranked if known[row.key]]
    first = sparse[:MOST_FOUND]
    chosen = [row for row in sparse[MOST_FOUND:] if f"{row.key[0]}/{row.key[1]}" == wanted.shown]
    found = _feature_hits(saes, known, first + chosen)
    shown = next((row for row in found if row.name == wanted.shown), next(iter(found), None))
    of = {sae.slug: sae for sae in saes}
    boxes = [_boxes(of, text, known, shown) for text in texts]
    return TextSearch(found, len(ranked) - len(sparse), shown, boxes)


def _feature_hits(
    saes: Sequence[Sae], known: Mapping[Key, Known | None], ranked: Iterable[Ranked]
) -> list[Found]:
    of = {sae.pk: sae for sae in saes}
    values = {row.pk: ranking.value for ranking in ranked if (row := known[ranking.key])}
    features = Feature.objects.only(
        "sae_id", "index", "density", "fires", "max_activation"
    ).in_bulk(values)
    for feature in features.values():
        feature.sae = of[feature.sae_id]
    seen = snippets(features.values(), saes[0].model_id) if features else {}
    return [
        Found(features[pk], value, seen.get(pk, []))
        for pk, value in values.items()
        if pk in features
    ]


def _boxes(
    of: Mapping[str, Sae], text: Text, known: Mapping[Key, Known | None], shown: Found | None
) -> list[Box]:
    """Token spans lit by the shown feature, with the strongest features on each, dense ones left
    out.
    """
    at: Mapping[int, float] = {}
    if shown:
        at = text.firings.get((shown.feature.sae.slug, shown.feature.index), {})
    full = shown.feature.max_activation or max(at.values(), default=0.0) if shown else 0.0
    on: dict[int, list[tuple[float, Key]]] = {}
    for key, places in text.firings.items():
        if known.get(key):
            for place, value in places.items():
                on.setdefault(place, []).append((value, key))
    boxes = []
    for span in text.tokens:
        here = max((at[place] for place in _places(span) if place in at), default=None)
        lit = span._replace(value=here, strength=alpha(here or 0.0, full))
        boxes.append(_box(of, lit, [row for place in _places(span) for row in on.get(place, [])]))
    return boxes


def _box(of: Mapping[str, Sae], span: Span, firing: Iterable[tuple[float, Key]]) -> Box:
    """A span with its strongest features, each once even if it fires on several tokens of
    the span.
    """
    best: dict[Key, float] = {}
    for value, key in firing:
        best[key] = max(value, best.get(key, 0.0))
    first = sorted(best.items(), key=lambda row: (-row[1], row[0]))[:PER_TOKEN]
    return Box(span, [Strong(of[slug], index, value) for (slug, index), value in first], len(best))
