"""The pieces of a steering run, folded into texts: what the page and the API show, made from the
same rows as the stream.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from features.token_spans import Span, Vocabulary, spans, text_of

Piece = Mapping[str, Any]


class Text(NamedTuple):
    """A text that was generated, a value for each token. What is not measured yet is missing at the
    end.

    `activations` and `mass` are lists for each of the run's features.
    """

    token_ids: list[int]
    logprobs: list[float]
    kl: list[float]
    surprise: list[float]
    activations: list[list[float]]
    mass: list[list[float]]

    @property
    def nats(self) -> float | None:
        """Mean surprise of the unsteered model, per token; None before anything was measured."""
        return sum(self.surprise) / len(self.surprise) if self.surprise else None

    @property
    def divergence(self) -> float | None:
        """Mean KL from the unsteered model's next token, likewise."""
        return sum(self.kl) / len(self.kl) if self.kl else None


class Result(NamedTuple):
    """The prompt as the model reads it, with each feature's activations, and the texts: the
    default first.
    """

    prompt: list[int]
    prompt_activations: list[list[float]]
    texts: list[Text]


class Sweep(NamedTuple):
    """How far a sweep is, and once it is over what came of it, as
    workers.pipeline.steering.dose_response defines it.
    """

    done: int
    total: int
    dose: Mapping[str, Any] | None


class Box(NamedTuple):
    """A box of a steered text: usually one token. The numbers are sums over its tokens, save the
    activation, their largest.
    """

    span: Span
    logprob: float
    kl: float | None
    changed: bool


class Change(NamedTuple):
    """A stretch of the two texts: the same in both where `before` equals `after`."""

    before: str
    after: str

    @property
    def same(self) -> bool:
        """Whether nothing changed here."""
        return self.before == self.after


def folded(pieces: Iterable[Piece], features: int, rows: int = 2) -> Result:
    """What the pieces of a run say together; those before an “again” are of an attempt
    that died.
    """
    result = _empty(features, rows)
    for piece in pieces:
        if "again" in piece:
            result = _empty(features, rows)
        elif "prompt" in piece:
            result = result._replace(
                prompt=piece["prompt"], prompt_activations=piece["activations"]
            )
        elif "ids" in piece:
            for text, token_id, logprob in zip(
                result.texts, piece["ids"], piece["logprobs"], strict=True
            ):
                if token_id is not None:
                    text.token_ids.append(token_id)
                    text.logprobs.append(logprob)
        elif "start" in piece:
            for row, text in enumerate(result.texts):
                text.kl.extend(piece["kl"][row])
                text.surprise.extend(piece["surprise"][row])
                for feature in range(features):
                    text.activations[feature].extend(piece["activations"][feature][row])
                    text.mass[feature].extend(piece["mass"][feature][row])
    return result


def swept(pieces: Iterable[Piece]) -> Sweep:
    """What the pieces of a sweep say together."""
    sweep = Sweep(0, 0, None)
    for piece in pieces:
        if "again" in piece:
            sweep = Sweep(0, 0, None)
        elif "dose" in piece:
            sweep = sweep._replace(dose=piece["dose"])
        elif "done" in piece:
            sweep = sweep._replace(done=piece["done"], total=piece["total"])
    return sweep


def boxes(
    text: Text, vocabulary: Vocabulary, shown: int, maximum: float, against: Text | None = None
) -> list[Box]:
    """A text as boxes, lit by the `shown`-th feature; `changed` where a token is not what the text
    `against` has there.
    """
    values = text.activations[shown] if text.activations else []
    fired = [(place, value) for place, value in enumerate(values) if value > 0]
    places, sizes = [place for place, _ in fired], [value for _, value in fired]
    new = _new(against.token_ids, text.token_ids) if against else set()
    full = maximum or max(values, default=0.0)
    return [
        _box(span, text, new)
        for span in spans(text.token_ids, vocabulary, places, sizes, None, full)
    ]


def changes(default: Sequence[int], steered: Sequence[int], vocabulary: Vocabulary) -> list[Change]:
    """The shortest way from one text to the other, stretch by stretch."""
    stretches = SequenceMatcher(None, default, steered, autojunk=False).get_opcodes()
    return [
        Change(text_of(default[a:b], vocabulary), text_of(steered[c:d], vocabulary))
        for _, a, b, c, d in stretches
    ]


def _empty(features: int, rows: int) -> Result:
    def lists() -> list[list[float]]:
        return [[] for _ in range(features)]

    return Result([], [], [Text([], [], [], [], lists(), lists()) for _ in range(rows)])


def _new(before: Sequence[int], after: Sequence[int]) -> set[int]:
    """Positions of tokens in `after` that the shortest way from `before` puts there."""
    stretches = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return {
        place
        for kind, _, _, first, last in stretches
        if kind != "equal"
        for place in range(first, last)
    }


def _box(span: Span, text: Text, new: set[int]) -> Box:
    inside = range(span.position, span.position + len(span.token_ids))
    kl = [text.kl[i] for i in inside if i < len(text.kl)]
    logprob = sum(text.logprobs[i] for i in inside)
    return Box(span, logprob, sum(kl) if kl else None, not new.isdisjoint(inside))
