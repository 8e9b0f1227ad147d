"""What a language model is shown of a feature: pieces of text with the activation on each token.

Labels are written from and scored on different contexts. `is_held_out` assigns every context to one
part by a hash of its position in the corpus, for all features alike, so that no text that an
explainer saw occurs in a score.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

BEFORE, AFTER = 20, 11
"""Tokens shown before and after the central one: 32 in total."""
STRONG_SHARE = 0.3
"""The share of a feature's maximum from which a token is marked, or counts as firing in a score."""


class ExampleText(NamedTuple):
    """A piece of a context: its tokens as text, and the feature's activation on each."""

    tokens: list[str]
    values: list[float]

    @property
    def plain(self) -> str:
        """The text without marks."""
        return "".join(self.tokens)


class FeatureExamples(NamedTuple):
    """The texts of a feature; `maximum` is its largest activation on the dashboard's tokens.

    Labels are written from `learn` (strongest first) and `alike`, texts of its nearest features in
    which it does not fire. The other texts are held out and differ from these. In `firing` it
    reaches `STRONG_SHARE` of its maximum. It does not fire in `random` texts, nor in `hard` ones:
    examples of its nearest features, or texts around the token on which it peaks elsewhere.
    `promotes` and `suppresses` are tokens by logit effect.
    """

    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    maximum: float
    learn: list[ExampleText]
    alike: list[ExampleText]
    firing: list[ExampleText]
    random: list[ExampleText]
    hard: list[ExampleText]
    promotes: list[str]
    suppresses: list[str]


def is_held_out(seed: int, sequence: int) -> bool:
    """Return whether the context at this position of its corpus is for scores only: about half of
    them, the same for every feature.
    """
    return hashlib.sha256(f"{seed} {sequence}".encode()).digest()[0] % 2 == 1


def text_around(tokens: Sequence[str], values: Sequence[float], centre: int) -> ExampleText:
    """Return the piece around one token of a context."""
    begin, end = max(0, centre - BEFORE), centre + AFTER + 1
    return ExampleText(list(tokens[begin:end]), list(values[begin:end]))


def mark_active_tokens(text: ExampleText, maximum: float, share: float = STRONG_SHARE) -> str:
    """Return the text with << and >> around each run of tokens on which the feature reaches a share
    of its maximum.
    """
    return mark_tokens(
        text.tokens, [value >= share * maximum and value > 0 for value in text.values]
    )


def mark_tokens(tokens: Sequence[str], selected: Sequence[bool]) -> str:
    """Return the text with << and >> around each run of selected tokens.

    Brackets of the text itself are not escaped.
    """
    parts, inside = [], False
    for token, is_selected in zip([*tokens, ""], [*selected, False], strict=True):
        if is_selected != inside:
            parts.append("<<" if is_selected else ">>")
        parts.append(token)
        inside = is_selected
    return "".join(parts)


def activation_level(value: float, maximum: float) -> int:
    """Return an activation as an integer from 0 to 10, the feature's maximum; positive activations
    are at least 1.
    """
    return 0 if value <= 0 or maximum <= 0 else min(10, max(1, int(10 * value / maximum)))
