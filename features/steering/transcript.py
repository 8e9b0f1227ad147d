"""Steering runs as texts: the page and the API fold the stored pieces that the stream sends."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from features.token_spans import Span, Vocabulary, spans, strongest, text_of

Piece = Mapping[str, Any]


class Text(NamedTuple):
    """A generated text with a value for each token; values that are not measured yet are missing at
    the end.

    `activations` and `mass` have a list for each feature of the run.
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
        """Mean KL to the unsteered model's next token; None before anything was measured."""
        return sum(self.kl) / len(self.kl) if self.kl else None


class Result(NamedTuple):
    """The token ids of the prompt, with each feature's activations, and the texts, the default
    first.
    """

    prompt: list[int]
    prompt_activations: list[list[float]]
    texts: list[Text]


class Sweep(NamedTuple):
    """The progress of a sweep, and at its end the dose response as
    workers.pipeline.steering.dose_response defines it.
    """

    done: int
    total: int
    dose: Mapping[str, Any] | None

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def percent(self) -> int:
        """`share` in whole percents, rounded down."""
        return int(self.share * 100)


class SteeredSpan(NamedTuple):
    """A token span of a steered text, usually one token. Numbers are sums over its tokens, except
    the activation, which is their maximum.
    """

    span: Span
    logprob: float
    kl: float | None
    changed: bool


class Change(NamedTuple):
    """A segment of the two texts: the same in both where `before` equals `after`."""

    before: str
    after: str

    @property
    def same(self) -> bool:
        """Whether the segment did not change."""
        return self.before == self.after


def fold_pieces(pieces: Iterable[Piece], features: int, rows: int = 2) -> Result:
    """The result of a run; pieces before an “again” belong to an attempt that crashed."""
    result = _empty(features, rows)
    for piece in pieces:
        if "again" in piece:
            result = _empty(features, rows)
        elif "prompt" in piece:
            result = result._replace(
                prompt=piece["prompt"], prompt_activations=piece["activations"]
            )
        elif "ids" in piece:
            _append_tokens(result.texts, piece)
        elif "start" in piece:
            _append_measurements(result.texts, piece)
    return result


def _append_tokens(texts: list[Text], piece: Piece) -> None:
    for text, token_id, logprob in zip(texts, piece["ids"], piece["logprobs"], strict=True):
        if token_id is not None:
            text.token_ids.append(token_id)
            text.logprobs.append(logprob)


def _append_measurements(texts: list[Text], piece: Piece) -> None:
    for row, text in enumerate(texts):
        text.kl.extend(piece["kl"][row])
        text.surprise.extend(piece["surprise"][row])
        for feature, activations in enumerate(text.activations):
            activations.extend(piece["activations"][feature][row])
            text.mass[feature].extend(piece["mass"][feature][row])


def fold_sweep(pieces: Iterable[Piece]) -> Sweep:
    """The result of a sweep from its pieces."""
    sweep = Sweep(0, 0, None)
    for piece in pieces:
        if "again" in piece:
            sweep = Sweep(0, 0, None)
        elif "dose" in piece:
            sweep = sweep._replace(dose=piece["dose"])
        elif "done" in piece:
            sweep = sweep._replace(done=piece["done"], total=piece["total"])
    return sweep


def steered_spans(
    text: Text, vocabulary: Vocabulary, shown: int, maximum: float, against: Text | None = None
) -> list[SteeredSpan]:
    """The token spans of a text with the activations of feature number `shown`; `changed` where a
    token differs from the text `against`.
    """
    values = text.activations[shown] if text.activations else []
    positions = [position for position, value in enumerate(values) if value != 0]
    fired = [values[position] for position in positions]
    new = _new_positions(against.token_ids, text.token_ids) if against else set()
    full = maximum or abs(strongest(values) or 0.0)
    return [
        _steered_span(span, text, new)
        for span in spans(text.token_ids, vocabulary, positions, fired, None, full)
    ]


def diff_texts(
    default: Sequence[int], steered: Sequence[int], vocabulary: Vocabulary
) -> list[Change]:
    """The shortest edit from one text to the other, as segments."""
    segments = SequenceMatcher(None, default, steered, autojunk=False).get_opcodes()
    return [
        Change(text_of(default[a:b], vocabulary), text_of(steered[c:d], vocabulary))
        for _, a, b, c, d in segments
    ]


def _empty(features: int, rows: int) -> Result:
    def lists() -> list[list[float]]:
        return [[] for _ in range(features)]

    return Result([], [], [Text([], [], [], [], lists(), lists()) for _ in range(rows)])


def _new_positions(before: Sequence[int], after: Sequence[int]) -> set[int]:
    """Positions of tokens in `after` that the shortest edit from `before` inserts."""
    segments = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return {
        position
        for kind, _, _, first, last in segments
        if kind != "equal"
        for position in range(first, last)
    }


def _steered_span(span: Span, text: Text, new: set[int]) -> SteeredSpan:
    inside = range(span.position, span.position + len(span.token_ids))
    kl = [text.kl[i] for i in inside if i < len(text.kl)]
    logprob = sum(text.logprobs[i] for i in inside)
    return SteeredSpan(span, logprob, sum(kl) if kl else None, not new.isdisjoint(inside))
