"""How much of a feature is enough, and how much is too much: one that is added at several
strengths, with random directions.

For each strength, over all texts that were generated with it:

    concept    the feature's activation while the unsteered model reads the text, averaged over its
    tokens, as a share of the
               feature's maximum
    mass       the steered model's probability of the tokens that the feature promotes, averaged
    over the tokens surprise   -log Q(token) of the unsteered model, averaged: fluency lost, in nats
    per token distinct   pairs of neighbouring tokens that are different ones, as a share of all
    pairs: repetition makes it small damage     cross-entropy of the next token of texts that have
    nothing to do with the feature, all of whose positions are
               steered, less that of the unsteered model

The controls are the same with random directions of the decoder row's length: what any push of that
size does. A strength is sound where the texts cost at most `LOST` nats per token more than the
default, the neutral texts too, and at least `KEPT` of the default's distinct pairs are left. The
model breaks at the smallest strength from which on none is sound. The best dose is the sound one
that expresses most, (concept + mass) / 2, if that is more than by default and with every control.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from features.records import Progress
from workers.pipeline.model.language import Language
from workers.pipeline.steering.generate import Measured, Step, Watched, Where, decode
from workers.pipeline.steering.interventions import Push, Steering, directions
from workers.pipeline.steering.sampling import Sampling

LOST, KEPT = 1.0, 0.5
CONTROLS, SAMPLES = 4, 4
MEASURES = ("concept", "mass", "surprise", "distinct", "damage")


class Dose(NamedTuple):
    """What came of each strength. `feature` has a number of every measure for each, `control` one
    for each random direction.

    `default` is without steering; `best` and `breaks` are places in `strengths`; `texts` are the
    first sample's token ids.
    """

    strengths: list[float]
    feature: dict[str, list[float]]
    control: dict[str, list[list[float]]]
    default: dict[str, float]
    best: int | None
    breaks: int | None
    texts: list[list[int]]


class _Sums:
    """Sums over the tokens of one row of the batch, over all samples."""

    def __init__(self) -> None:
        self.tokens = 0
        self.total = dict.fromkeys(("concept", "mass", "surprise"), 0.0)
        self.pairs: list[int] = [0, 0]

    def add(self, measured: Measured, row: int, maximum: float) -> None:
        self.tokens += len(measured.surprise[row])
        self.total["surprise"] += sum(measured.surprise[row])
        self.total["mass"] += sum(measured.mass[0][row])
        self.total["concept"] += sum(measured.activations[0][row]) / (maximum or 1.0)

    def text(self, ids: list[int]) -> None:
        pairs = list(pairwise(ids))
        self.pairs = [self.pairs[0] + len(set(pairs)), self.pairs[1] + len(pairs)]

    def values(self) -> dict[str, float]:
        means = {name: total / max(self.tokens, 1) for name, total in self.total.items()}
        return means | {"distinct": self.pairs[0] / self.pairs[1] if self.pairs[1] else 1.0}


@torch.no_grad()
def sweep(
    language: Language,
    push: Push,
    strengths: Sequence[float],
    prompt: Sequence[int],
    where: Where,
    sampling: Sampling,
    tokens: Sequence[int],
    neutral: Sequence[Sequence[int]],
    should_stop: Callable[[], bool] = lambda: False,
    controls: int = CONTROLS,
    samples: int = SAMPLES,
) -> Iterator[Progress | Dose]:
    """Yield progress and, unless it is stopped, the `Dose`. All strengths and controls decode in
    one batch a sample.

    `tokens` are those that the feature promotes, `neutral` token ids of texts in which it does not
    fire. The seeds of texts and controls follow from that of `sampling`.
    """
    pushes = [
        push,
        *(
            push._replace(direction=drawn)
            for drawn in random_directions(push, controls, sampling.seed)
        ),
    ]
    rows = [[one._replace(strength=strength)] for one in pushes for strength in strengths]
    sums = [_Sums() for _ in range(len(rows) + 1)]
    total, first = samples + len(rows) + 1, list[list[int]]()
    for sample in range(samples):
        yield Progress(sample, total, "steps", "writing")
        drawn = sampling._replace(seed=sampling.seed + sample)
        watched = [Watched(push.lens, push.index, tokens)]
        texts = _texts(
            decode(language, rows, prompt, where, drawn, watched, should_stop), sums, push.maximum
        )
        first = first or texts[: len(strengths) + 1]
        for one, ids in zip(sums, texts, strict=True):
            one.text(ids)
    damages = list[float]()
    for done, row in enumerate([[], *rows]):
        if should_stop():
            return
        yield Progress(samples + done, total, "steps", "reading neutral text")
        damages.append(loss(language, neutral, row))
    values = [
        one.values() | {"damage": damage - damages[0]}
        for one, damage in zip(sums, damages, strict=True)
    ]
    yield _dose(list(strengths), values, first, controls)


def random_directions(push: Push, count: int, seed: int) -> list[Tensor]:
    """Directions drawn evenly from the sphere, the same for a seed on every device."""
    chance = torch.Generator().manual_seed(seed)
    like = directions(push)
    return [torch.randn(like.shape, generator=chance).to(like.device) for _ in range(count)]


def loss(language: Language, texts: Sequence[Sequence[int]], pushes: Sequence[Push]) -> float:
    """Mean cross-entropy of the next token, in nats, with every position that is no special token
    steered.
    """
    losses, counted = 0.0, 0
    for text in texts:
        ids = torch.tensor([list(text)], device=language.device)
        ordinary = ~torch.isin(ids, language.special_ids.to(ids.device))
        steering = Steering(language, [pushes])
        if pushes:
            with steering.at(ordinary):
                logits = language.model(input_ids=ids, use_cache=False).logits
        else:
            logits = language.model(input_ids=ids, use_cache=False).logits
        wanted = ordinary[0, 1:]
        told = logits[0, :-1].float().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        losses -= float(told[wanted].sum())
        counted += int(wanted.sum())
    return losses / max(counted, 1)


def marks(
    values: Sequence[dict[str, float]], control: Sequence[float], default: dict[str, float]
) -> tuple[int | None, int | None]:
    """The best strength and where the model breaks, by the rule above; `control` is the most that
    any control expresses.
    """
    sound = [
        one["surprise"] <= default["surprise"] + LOST
        and one["damage"] <= LOST
        and one["distinct"] >= KEPT * default["distinct"]
        for one in values
    ]
    candidates = [
        i
        for i, one in enumerate(values)
        if sound[i] and expressed(one) > max(control[i], expressed(default))
    ]
    best = max(candidates, key=lambda i: expressed(values[i]), default=None)
    broken = len(sound)
    while broken and not sound[broken - 1]:
        broken -= 1
    return best, broken if broken < len(sound) else None


def expressed(values: dict[str, float]) -> float:
    """How much of the feature there is in what was written."""
    return (values["concept"] + values["mass"]) / 2


def _dose(
    strengths: list[float], values: list[dict[str, float]], texts: list[list[int]], controls: int
) -> Dose:
    count = len(strengths)
    default, feature = values[0], values[1 : count + 1]
    others = [values[1 + count * n : 1 + count * (n + 1)] for n in range(1, controls + 1)]
    most = [max((expressed(other[i]) for other in others), default=0.0) for i in range(count)]
    best, breaks = marks(feature, most, default)
    return Dose(
        strengths,
        {name: [one[name] for one in feature] for name in MEASURES},
        {name: [[one[name] for one in other] for other in others] for name in MEASURES},
        default,
        best,
        breaks,
        texts,
    )


def _texts(news: Iterator[Any], sums: list[_Sums], maximum: float) -> list[list[int]]:
    texts: list[list[int]] = [[] for _ in sums]
    for new in news:
        if isinstance(new, Step):
            for text, token in zip(texts, new.ids, strict=True):
                if token is not None:
                    text.append(token)
        elif new.start >= 0:
            for row, one in enumerate(sums):
                one.add(new, row, maximum)
    return texts
