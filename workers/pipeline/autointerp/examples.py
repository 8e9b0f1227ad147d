"""What a language model is shown of a feature: pieces of text with the activation on each token.

What a label is written from and what it is scored on are never the same contexts: `deal` puts every
context, by a hash of its place in the corpus, on one side for all features, so that no text that an
explainer saw can come back in a score.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

BEFORE, AFTER = 20, 11
"""Tokens shown before and after the one at the centre: 32 in all."""
STRONG = 0.3
"""Share of a feature's maximum from which a token counts as firing, for what is marked and for what
is asked.
"""


class Text(NamedTuple):
    """A piece of a context: its `tokens` as text and the feature's activation on each, 0 where it
    is silent.
    """

    tokens: list[str]
    values: list[float]

    @property
    def plain(self) -> str:
        """The text as it stands."""
        return "".join(self.tokens)


class Material(NamedTuple):
    """A feature as methods need it, `maximum` being its largest activation on the dashboard's
    tokens.

    `learn` (strongest first) is what labels are written from, beside `alike`, texts of its nearest
    features in which it is silent. The others are held out, and none of them is a text that those
    show: `firing` texts in which it reaches `STRONG` of its maximum, and texts in which it stays
    silent, drawn at `random`, or `hard`: of its nearest features' examples, or around the token on
    which it peaks elsewhere. `promotes` and `suppresses` are tokens by logit effect.
    """

    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody calls here
    maximum: float
    learn: list[Text]
    alike: list[Text]
    firing: list[Text]
    random: list[Text]
    hard: list[Text]
    promotes: list[str]
    suppresses: list[str]


def held_out(seed: int, sequence: int) -> bool:
    """Whether the context at that place of its corpus is kept for scores: about half of them, the
    same for every feature.
    """
    return hashlib.sha256(f"{seed} {sequence}".encode()).digest()[0] % 2 == 1


def around(tokens: Sequence[str], values: Sequence[float], centre: int) -> Text:
    """The piece around one token of a context."""
    begin, end = max(0, centre - BEFORE), centre + AFTER + 1
    return Text(list(tokens[begin:end]), list(values[begin:end]))


def marked(text: Text, maximum: float, share: float = STRONG) -> str:
    """The text with << and >> around each run of tokens on which the feature reaches that share of
    its maximum.
    """
    return mark(text.tokens, [value >= share * maximum and value > 0 for value in text.values])


def mark(tokens: Sequence[str], chosen: Sequence[bool]) -> str:
    """The text with << and >> around each run of chosen tokens; brackets of the text itself stay as
    they are.
    """
    pieces, before = [], False
    for token, now in zip([*tokens, ""], [*chosen, False], strict=True):
        pieces.append(("<<" if now and not before else ">>" if before and not now else "") + token)
        before = now
    return "".join(pieces)


def steps(value: float, maximum: float) -> int:
    """An activation as a whole number from 0 to 10, 10 being the feature's maximum; what fires at
    all is at least 1.
    """
    return 0 if value <= 0 or maximum <= 0 else min(10, max(1, int(10 * value / maximum)))
