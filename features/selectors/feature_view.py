"""What a feature's page and its API twin show, as tuples."""

from collections import Counter
from typing import NamedTuple

from features.models import Feature, FeatureEffect, Sae
from features.token_spans import Span, short


class Band(NamedTuple):
    """Examples of one band: 0 is the top, others lie between `low` and `high`; `share` is the
    band's part of all firings.
    """

    number: int
    low: float
    high: float
    examples: "list[ShownExample]"
    share: float


class ShownExample(NamedTuple):
    """One example as a heatmap; `value` is the activation at its peak, `positions` and `values` are
    every firing.

    `sequence` is the id of its context, `name` its band and rank: 0.3 is the fourth of the top
    examples.
    """

    sequence: int
    name: str
    value: float
    peak: int
    document: str
    position: int
    tokens: list[Span]
    positions: list[int]
    values: list[float]


class TokenLogit(NamedTuple):
    """How much the feature's direction adds to one token's logit. `text` shows blanks as signs and
    hidden characters by name; `plain` leaves them.
    """

    token_id: int
    text: str
    logit: float
    plain: str


class Near(NamedTuple):
    """A feature whose decoder direction is near; `both` tokens have both fire, None where that was
    not counted.
    """

    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    cosine: float
    both: int | None


class Partner(NamedTuple):
    """A feature that fires on the same tokens: on `both` of them, a share `jaccard` of those on
    which either fires.
    """

    index: int  # type: ignore[assignment]  # as above
    jaccard: float
    both: int


class Elsewhere(NamedTuple):
    """The feature of another SAE of the model whose decoder direction is nearest."""

    sae: str
    index: int  # type: ignore[assignment]  # as above
    cosine: float


class FeatureView(NamedTuple):
    """Everything the feature page and its API twin show."""

    feature: Feature
    sae: Sae
    previous: int | None
    next: int | None
    bands: list[Band]
    top_logits: list[TokenLogit]
    bottom_logits: list[TokenLogit]
    nearest: list[Near]
    cofiring: list[Partner]
    elsewhere: list[Elsewhere]
    effect: FeatureEffect | None

    @property
    def reads(self) -> list[str]:
        """Up to three tokens on which the top examples peak, most frequent first, each in two
        examples or more.
        """
        top = next((band.examples for band in self.bands if band.number == 0), [])
        peaks = Counter(short(span.text) for e in top for span in e.tokens if span.peak)
        return [text for text, times in peaks.most_common(3) if times > 1 or len(top) == 1]

    @property
    def writes(self) -> list[str]:
        """The two tokens that the feature promotes most, without blanks around."""
        rising = [short(t.plain) for t in self.top_logits if t.logit > 0]
        return list(dict.fromkeys(rising))[:2]
