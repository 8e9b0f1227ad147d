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
from features.selectors.text_ranking import Firings, Key, Ranked, by_feature, rank, rank_difference
from features.token_spans import Span, alpha, strongest

MAX_RESULTS = 64
"""The limit of features per token: if one token is chosen, all of its features are shown."""
PER_TOKEN = 5
"""Features listed for each token."""


class Text(NamedTuple):
    """A text with its token spans, the positions that count, and its firings."""

    tokens: list[Span]
    counted: list[int]
    firings: Firings


class FeatureScale(NamedTuple):
    """The row of a feature and its maximum activation."""

    pk: int
    maximum: float


class FeatureHit(NamedTuple):
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


class FiringFeature(NamedTuple):
    """A feature that fires on a token."""

    sae: Sae
    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    value: float


class TokenFeatures(NamedTuple):
    """A token span with the features that fire on it most strongly, out of `firing`."""

    span: Span
    strongest: list[FiringFeature]
    firing: int


class TextSearch(NamedTuple):
    """Matching features, how many are `hidden` as too dense, and each text under the
    shown feature.
    """

    hits: list[FeatureHit]
    hidden: int
    shown: FeatureHit | None
    texts: list[list[TokenFeatures]]


class TextSearchOptions(NamedTuple):
    """How to search. `chosen` are positions, empty for all; `scaled` ranks by activations over
    each feature's maximum; `shown` names the feature to show on the texts, by default the first.
    """

    by: str = "sum"
    chosen: Sequence[int] = ()
    density_max: float = 1.0
    scaled: bool = False
    shown: str = ""


def load_text(saes: Sequence[Sae], text: str) -> Text:
    """Load the activations of a text once for all SAEs, which belong to one model."""
    readings = read_text(saes, text)
    fired = {reading.sae.slug: reading.fired[_prefix_length(reading) :] for reading in readings}
    head = _prefix_length(readings[0])
    tokens = [
        span._replace(position=span.position - head)
        for span in readings[0].tokens
        if span.position >= head
    ]
    return Text(tokens, _counted(tokens), by_feature(fired))


def load_context(sae: Sae, token_ids: Sequence[int]) -> Text:
    """Load the activations of a stored context; positions count from its first token."""
    reading = read_context(sae, token_ids)
    counted = _counted(reading.tokens)
    return Text(reading.tokens, counted, by_feature({sae.slug: reading.fired}))


def search(saes: Sequence[Sae], text: Text, options: TextSearchOptions) -> TextSearch:
    """Features of a text, ranked on the chosen tokens. Four queries."""
    scales = _feature_scales(saes, text.firings, options.density_max)
    chosen = [pos for pos in text.counted if pos in set(options.chosen)] or text.counted
    ranked = rank(_scaled(text.firings, scales, options.scaled), chosen, text.counted, options.by)
    return _search(saes, [text], scales, ranked, options)


def compare(
    saes: Sequence[Sae], first: Text, second: Text, options: TextSearchOptions
) -> TextSearch:
    """Features that differ between two texts, by difference of means or of maxima. Four queries."""
    scales = _feature_scales(saes, {**first.firings, **second.firings}, options.density_max)
    firings = [_scaled(text.firings, scales, options.scaled) for text in (first, second)]
    by = "max" if options.by == "max" else "mean"
    ranked = rank_difference(firings[0], len(first.counted), firings[1], len(second.counted), by)
    return _search(saes, [first, second], scales, ranked, options)


def _prefix_length(reading: TextReading) -> int:
    """The number of tokens that `workers/pipeline/steering/text_activations.py` adds before the
    text.
    """
    return int(reading.sae.prepend_bos and reading.sae.model.bos_token_id is not None)


def _counted(tokens: Iterable[Span]) -> list[int]:
    return [
        position
        for span in tokens
        if not (span.special or span.left_out)
        for position in _positions(span)
    ]


def _positions(span: Span) -> range:
    return range(span.position, span.position + len(span.token_ids))


def _feature_scales(
    saes: Iterable[Sae], keys: Iterable[Key], density_max: float
) -> dict[Key, FeatureScale | None]:
    """Scales by feature, None if it is too dense. One query with two arrays for thousands of
    features.
    """
    of = {sae.slug: sae.pk for sae in saes}
    slugs = {pk: slug for slug, pk in of.items()}
    requested = [(of[slug], index) for slug, index in keys]
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT f.id, sae_id, "index", f.density, f.max_activation FROM features_feature f'
            ' JOIN unnest(%s::int8[], %s::int4[]) AS requested(sae_id, "index")'
            ' USING (sae_id, "index")',
            [[sae for sae, _ in requested], [index for _, index in requested]],
        )
        return {
            (slugs[sae], index): FeatureScale(pk, maximum) if density <= density_max else None
            for pk, sae, index, density, maximum in cursor.fetchall()
        }


def _scaled(firings: Firings, scales: Mapping[Key, FeatureScale | None], scaled: bool) -> Firings:
    """Absolute activations of features with a row, or fractions of each feature's maximum."""
    result: dict[Key, Mapping[int, float]] = {}
    for key, at in firings.items():
        if key in scales:
            sizes = {position: abs(value) for position, value in at.items()}
            maximum = (scales[key] or FeatureScale(0, 0.0)).maximum or max(sizes.values())
            result[key] = {pos: size / maximum for pos, size in sizes.items()} if scaled else sizes
    return result


def _search(
    saes: Sequence[Sae],
    texts: Sequence[Text],
    scales: Mapping[Key, FeatureScale | None],
    ranked: list[Ranked],
    options: TextSearchOptions,
) -> TextSearch:
    sparse = [row for row in ranked if scales[row.key]]
    first = sparse[:MAX_RESULTS]
    chosen = [row for row in sparse[MAX_RESULTS:] if f"{row.key[0]}/{row.key[1]}" == options.shown]
    hits = _feature_hits(saes, scales, first + chosen)
    shown = next((row for row in hits if row.name == options.shown), next(iter(hits), None))
    of = {sae.slug: sae for sae in saes}
    token_features = [_token_features(of, text, scales, shown) for text in texts]
    return TextSearch(hits, len(ranked) - len(sparse), shown, token_features)


def _feature_hits(
    saes: Sequence[Sae], scales: Mapping[Key, FeatureScale | None], ranked: Iterable[Ranked]
) -> list[FeatureHit]:
    of = {sae.pk: sae for sae in saes}
    values = {row.pk: ranking.value for ranking in ranked if (row := scales[ranking.key])}
    features = Feature.objects.only(
        "sae_id", "index", "density", "fires", "max_activation"
    ).in_bulk(values)
    for feature in features.values():
        feature.sae = of[feature.sae_id]
    seen = snippets(features.values(), saes[0].model_id) if features else {}
    return [
        FeatureHit(features[pk], value, seen.get(pk, []))
        for pk, value in values.items()
        if pk in features
    ]


def _token_features(
    of: Mapping[str, Sae],
    text: Text,
    scales: Mapping[Key, FeatureScale | None],
    shown: FeatureHit | None,
) -> list[TokenFeatures]:
    """Token spans with the shown feature's activation and the strongest features on each, without
    dense ones.
    """
    at: Mapping[int, float] = {}
    if shown:
        at = text.firings.get((shown.feature.sae.slug, shown.feature.index), {})
    full = shown.feature.max_activation or abs(strongest(at.values()) or 0.0) if shown else 0.0
    on: dict[int, list[tuple[float, Key]]] = {}
    for key, firings in text.firings.items():
        if scales.get(key):
            for position, value in firings.items():
                on.setdefault(position, []).append((value, key))
    token_features = []
    for span in text.tokens:
        positions = _positions(span)
        peak = strongest([at[pos] for pos in positions if pos in at])
        lit = span._replace(value=peak, strength=alpha(peak or 0.0, full))
        firing = [row for pos in positions for row in on.get(pos, [])]
        token_features.append(_strongest_on(of, lit, firing))
    return token_features


def _strongest_on(
    of: Mapping[str, Sae], span: Span, firing: Iterable[tuple[float, Key]]
) -> TokenFeatures:
    """A span with its strongest features, each once even if it fires on several tokens of
    the span.
    """
    best: dict[Key, float] = {}
    for value, key in firing:
        best[key] = max(value, best.get(key, 0.0), key=abs)
    first = sorted(best.items(), key=lambda row: (-abs(row[1]), row[0]))[:PER_TOKEN]
    return TokenFeatures(
        span, [FiringFeature(of[slug], index, value) for (slug, index), value in first], len(best)
    )
