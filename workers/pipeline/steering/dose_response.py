"""Steer with one feature at several strengths: the best strength, and where the model breaks.

For each strength, over all texts that were generated with it:

    concept    the feature's activation while the unsteered model reads the text, averaged over
               tokens, as a share of the feature's maximum
    mass       the steered model's probability of the tokens that the feature promotes, averaged
               over tokens
    surprise   -log Q(token) of the unsteered model, averaged: fluency lost, in nats per token
    distinct   the share of pairs of neighbouring tokens that are different from one another:
               repetition makes it small
    damage     the cross-entropy of the next token of neutral texts, all of whose positions are
               steered, less that of the unsteered model, in nats

The controls are the same with random directions of the decoder row's length: what any intervention
of that size does.

A strength is sound if the texts cost at most `MAX_EXTRA_NATS` per token more than the default, the
neutral texts too, and at least `MIN_DISTINCT_SHARE` of the default's distinct pairs remain. The
model breaks at the smallest strength from which on none is sound. The best strength is the sound
one with the highest expression (concept + mass) / 2, provided that this is higher than the
default's and than every control's at that strength.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from features.records import Progress
from workers.pipeline.model.language import Language
from workers.pipeline.steering.generate import SteeredPositions, Step, decode
from workers.pipeline.steering.interventions import FeatureIntervention, direction_of
from workers.pipeline.steering.measurements import MeasuredFeature, Measurements
from workers.pipeline.steering.sampling import Sampling
from workers.pipeline.steering.steered_forward import Steering

MAX_EXTRA_NATS, MIN_DISTINCT_SHARE = 1.0, 0.5
CONTROLS, SAMPLES = 4, 4
MEASURES = ("concept", "mass", "surprise", "distinct", "damage")
Values = dict[str, float]
"""A number for every measure."""


class DoseResponse(NamedTuple):
    """What each strength does.

    By measure, `feature` has a number for each strength, and `control` such a list for each random
    direction. `default` is without steering. `best` and `breaks` are indices into `strengths`.
    `texts` are the token ids of the first sample: the default, then one text for each strength.
    """

    strengths: list[float]
    feature: dict[str, list[float]]
    control: dict[str, list[list[float]]]
    default: dict[str, float]
    best: int | None
    breaks: int | None
    texts: list[list[int]]


class _RowTotals:
    """Totals over the tokens of one row of the batch, over all samples."""

    def __init__(self) -> None:
        self.tokens = 0
        self.totals = dict.fromkeys(("concept", "mass", "surprise"), 0.0)
        self.distinct_pairs = self.pairs = 0

    def add_measurements(self, measurements: Measurements, row: int, maximum: float) -> None:
        self.tokens += len(measurements.surprise[row])
        self.totals["surprise"] += sum(measurements.surprise[row])
        self.totals["mass"] += sum(measurements.mass[0][row])
        self.totals["concept"] += sum(measurements.activations[0][row]) / (maximum or 1.0)

    def add_text(self, ids: list[int]) -> None:
        pairs = list(pairwise(ids))
        self.distinct_pairs += len(set(pairs))
        self.pairs += len(pairs)

    def values(self) -> Values:
        means = {name: total / max(self.tokens, 1) for name, total in self.totals.items()}
        return means | {"distinct": self.distinct_pairs / self.pairs if self.pairs else 1.0}


@torch.no_grad()
def measure_dose_response(
    language: Language,
    intervention: FeatureIntervention,
    strengths: Sequence[float],
    prompt: Sequence[int],
    positions: SteeredPositions,
    sampling: Sampling,
    tokens: Sequence[int],
    neutral: Sequence[Sequence[int]],
    should_stop: Callable[[], bool] = lambda: False,
    controls: int = CONTROLS,
    samples: int = SAMPLES,
) -> Iterator[Progress | DoseResponse]:
    """Yield progress and, unless it is stopped, the `DoseResponse`.

    All strengths and controls of a sample decode in one batch. `tokens` are the ids that the
    feature promotes, `neutral` the token ids of texts in which it does not fire. The seeds of the
    samples and of the controls follow from that of `sampling`.
    """
    directions = random_directions(intervention, controls, sampling.seed)
    variants = [intervention, *(intervention._replace(direction=row) for row in directions)]
    rows = [[variant._replace(strength=s)] for variant in variants for s in strengths]
    totals = [_RowTotals() for _ in range(len(rows) + 1)]
    steps, first_texts = samples + len(rows) + 1, list[list[int]]()
    feature = MeasuredFeature(intervention.lens, intervention.index, tokens)
    for sample in range(samples):
        yield Progress(sample, steps, "steps", "writing")
        reseeded = sampling._replace(seed=sampling.seed + sample)
        records = decode(language, rows, prompt, positions, reseeded, [feature], should_stop)
        texts = _collect_texts(records, totals, intervention.maximum)
        first_texts = first_texts or texts[: len(strengths) + 1]
    losses = list[float]()
    for done, row in enumerate([[], *rows]):
        if should_stop():
            return
        yield Progress(samples + done, steps, "steps", "reading neutral text")
        losses.append(next_token_loss(language, neutral, row))
    values = [
        total.values() | {"damage": loss - losses[0]}
        for total, loss in zip(totals, losses, strict=True)
    ]
    yield _dose_response(list(strengths), values, first_texts, controls)


def random_directions(intervention: FeatureIntervention, count: int, seed: int) -> list[Tensor]:
    """Return random directions [d_out], uniform on the sphere, equal on every device for a seed."""
    generator = torch.Generator().manual_seed(seed)
    direction = direction_of(intervention)
    return [
        torch.randn(direction.shape, generator=generator).to(direction.device) for _ in range(count)
    ]


def next_token_loss(
    language: Language,
    texts: Sequence[Sequence[int]],
    interventions: Sequence[FeatureIntervention],
) -> float:
    """Return the mean cross-entropy of the next token, in nats, with every position steered that is
    not a special token.
    """
    total, count = 0.0, 0
    steering = Steering(language, [interventions])
    for text in texts:
        ids = torch.tensor([list(text)], device=language.device)
        mask = ~torch.isin(ids, language.special_ids.to(ids.device))
        with steering.at(mask):
            logits = language.model(input_ids=ids, use_cache=False).logits
        logprobs = logits[0, :-1].float().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        total -= float(logprobs[mask[0, 1:]].sum())
        count += int(mask[0, 1:].sum())
    return total / max(count, 1)


def best_and_breaking(
    values: Sequence[Values], controls: Sequence[float], default: Values
) -> tuple[int | None, int | None]:
    """Return the index of the best strength and of the one at which the model breaks.

    `values` and `controls` have an entry for each strength; a control is the highest expression of
    any random direction. The rule is at the top of this module.
    """
    sound = [
        value["surprise"] <= default["surprise"] + MAX_EXTRA_NATS
        and value["damage"] <= MAX_EXTRA_NATS
        and value["distinct"] >= MIN_DISTINCT_SHARE * default["distinct"]
        for value in values
    ]
    candidates = [
        i
        for i, value in enumerate(values)
        if sound[i] and expression(value) > max(controls[i], expression(default))
    ]
    best = max(candidates, key=lambda i: expression(values[i]), default=None)
    breaks = len(sound)
    while breaks and not sound[breaks - 1]:
        breaks -= 1
    return best, breaks if breaks < len(sound) else None


def expression(values: Values) -> float:
    """Return how much of the feature the generated texts hold."""
    return (values["concept"] + values["mass"]) / 2


def _dose_response(
    strengths: list[float], values: list[Values], texts: list[list[int]], controls: int
) -> DoseResponse:
    """Assign the values of the rows: first the default, then the feature, then each control."""
    count = len(strengths)
    default, feature = values[0], values[1 : count + 1]
    others = [values[1 + count * n : 1 + count * (n + 1)] for n in range(1, controls + 1)]
    most = [max((expression(other[i]) for other in others), default=0.0) for i in range(count)]
    best, breaks = best_and_breaking(feature, most, default)
    return DoseResponse(
        strengths,
        {name: [value[name] for value in feature] for name in MEASURES},
        {name: [[value[name] for value in other] for other in others] for name in MEASURES},
        default,
        best,
        breaks,
        texts,
    )


def _collect_texts(
    records: Iterator[Step | Measurements], totals: list[_RowTotals], maximum: float
) -> list[list[int]]:
    """Return the token ids of each text, and add the texts to their totals."""
    texts: list[list[int]] = [[] for _ in totals]
    for record in records:
        if isinstance(record, Step):
            for text, token in zip(texts, record.ids, strict=True):
                if token is not None:
                    text.append(token)
        elif record.start >= 0:
            for row, total in enumerate(totals):
                total.add_measurements(record, row, maximum)
    for total, text in zip(totals, texts, strict=True):
        total.add_text(text)
    return texts
