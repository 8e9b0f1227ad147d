"""Measure what a feature does to the model's output by changing it.

Input role (`reads`): the feature is ablated at every position where it fires, in texts where it
fires. Output role (`writes`): the feature's maximum is added at every eighth position where it does
not fire, in neutral texts that were not selected for it. `promoted` are the tokens whose logits
rise most.

`changes.py` defines the three numbers kl, ce and logit of a text. Each text is compared with a
control: a random direction of equal norm at the same positions of the same text. With e the
difference between feature and control, text by text, of kl for the input role and of logit for the
output role:

    difference   mean of e, with its 95% interval (Student's t, n texts)
    effect       mean of e / standard deviation of e

`measure_on_text` measures both roles in a single text. There is no interval over texts; the
control is the mean and the maximum of sixteen random directions.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.stats import t as student
from torch import Tensor

from features.records import ControlledValue, EffectRecord, Progress, RoleRecord, TextEffectRecord
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.counted_tokens import counted_tokens
from workers.pipeline.model.language import Language
from workers.pipeline.steering.changes import Changes, MarkedText, measure_changes
from workers.pipeline.steering.interventions import (
    FeatureIntervention,
    direction_of,
    encode_features,
)
from workers.pipeline.steering.text_activations import Lens

POSITION_STRIDE = 8
PROMOTED_TOKENS = 5
CONTROLS = 16


class FeatureCase(NamedTuple):
    """A feature, its largest activation, the ids of the tokens that its direction promotes, and
    texts with the positions where it fires.
    """

    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    maximum: float
    promoted_tokens: Sequence[int]
    texts: Sequence[MarkedText]

    def ablation(self, lens: Lens) -> FeatureIntervention:
        """The intervention of the input role."""
        return FeatureIntervention(lens, self.index, "ablate", 0.0, "maximum", self.maximum)

    def addition(self, lens: Lens) -> FeatureIntervention:
        """The intervention of the output role."""
        return FeatureIntervention(lens, self.index, "add", 1.0, "maximum", self.maximum)


@torch.no_grad()
def measure_causal_effects(
    language: Language,
    lens: Lens,
    features: Iterable[FeatureCase],
    total: int,
    neutral: Sequence[Sequence[int]],
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | EffectRecord]:
    """Yield progress, and a record for each of `total` features that has two texts for each role.

    `neutral` are the token ids of texts. Ends early when `should_stop` returns true.
    """
    inputs = activations_of_texts(language, lens, neutral)
    for done, feature in enumerate(features):
        if should_stop():
            return
        yield Progress(done, total, "features", "changing features")
        firing = [text for text in feature.texts if text[1]]
        inactive = [
            (ids, inactive_positions(language, lens, feature.index, ids, x, seed))
            for ids, x in zip(neutral, inputs, strict=True)
        ]
        reads = _measure_role(
            language, feature.ablation(lens), firing, feature.promoted_tokens, seed, "kl"
        )
        writes = _measure_role(
            language,
            feature.addition(lens),
            [text for text in inactive if text[1]],
            feature.promoted_tokens,
            seed,
            "logit",
        )
        if reads and writes:
            yield EffectRecord(feature.index, reads[0], writes[0], writes[1])
    yield Progress(total, total, "features", "changing features")


@torch.no_grad()
def measure_on_text(
    language: Language, lens: Lens, feature: FeatureCase, seed: int = 0
) -> tuple[TextEffectRecord | None, TextEffectRecord | None]:
    """Return both roles of a feature in its one text: ablated at the positions where it fires, its
    maximum added at the others.

    A role is None if the text has no such position. Tokens that do not count are never changed.
    """
    ((ids, firing),) = feature.texts
    (x,) = activations_of_texts(language, lens, [ids])
    inactive = [at for at in _counted_positions(language, lens, ids, x) if at not in set(firing)]
    tokens = feature.promoted_tokens
    return (
        _measure_text_role(language, feature.ablation(lens), (ids, firing), tokens, seed),
        _measure_text_role(language, feature.addition(lens), (ids, inactive), tokens, seed),
    )


def activations_of_texts(
    language: Language, lens: Lens, texts: Sequence[Sequence[int]]
) -> list[Float[Tensor, "pos d_in"]]:
    """Return the activations that the SAE encodes, for each text."""
    return [
        next(activations_at(language, [lens.hook], [torch.tensor([list(ids)])]))[lens.hook][0]
        for ids in texts
    ]


def inactive_positions(
    language: Language,
    lens: Lens,
    index: int,
    ids: Sequence[int],
    inputs: Float[Tensor, "pos d_in"],
    seed: int,
) -> list[int]:
    """Return every eighth position of a text where the feature does not fire.

    The first one depends on the seed and the feature. Tokens that do not count are left out.
    """
    positions = list(range((seed + index) % POSITION_STRIDE, len(ids), POSITION_STRIDE))
    codes, _ = encode_features(lens, [index], inputs[positions], language)
    counted = set(_counted_positions(language, lens, ids, inputs))
    return [
        position
        for position, code in zip(positions, codes[:, 0].tolist(), strict=True)
        if code == 0 and position in counted
    ]


def _counted_positions(
    language: Language, lens: Lens, ids: Sequence[int], inputs: Float[Tensor, "pos d_in"]
) -> list[int]:
    special = language.special_ids
    counted = counted_tokens(torch.tensor([list(ids)]), inputs[None], special, lens.rule)
    return counted[0].nonzero()[:, 0].tolist()


def mean_with_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean, half the width of its 95% interval by Student's t, and the effect size.

    The effect size is the mean over the standard deviation, 0 if the values do not vary. The
    interval of a single value is infinite.
    """
    n, mean = len(values), sum(values) / len(values)
    if n == 1:
        return mean, math.inf, 0.0
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(student.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
    return mean, half, mean / deviation if deviation else 0.0


def _measure_role(
    language: Language,
    intervention: FeatureIntervention,
    texts: Sequence[MarkedText],
    tokens: Sequence[int],
    seed: int,
    measure: str,
) -> tuple[RoleRecord, list[int]] | None:
    """Return the role and the tokens that it promotes most; None for fewer than two texts."""
    if len(texts) < 2:
        return None
    controls = _controls(intervention, len(texts), seed)
    changes, control = measure_changes(
        language, texts, [[intervention] * len(texts), controls], tokens
    )
    mean, half, effect = mean_with_interval(
        [a - b for a, b in zip(getattr(changes, measure), getattr(control, measure), strict=True)]
    )
    n = len(texts)
    means = {name: sum(getattr(changes, name)) / n for name in ("kl", "ce", "logit")}
    means |= {f"control_{name}": sum(getattr(control, name)) / n for name in ("kl", "ce", "logit")}
    role = RoleRecord(
        **means, difference=mean, low=mean - half, high=mean + half, effect=effect, n=n
    )
    return role, _promoted(changes)


def _measure_text_role(
    language: Language,
    intervention: FeatureIntervention,
    text: MarkedText,
    tokens: Sequence[int],
    seed: int,
) -> TextEffectRecord | None:
    if not text[1]:
        return None
    controls = _controls(intervention, CONTROLS, seed)
    (changes,) = measure_changes(language, [text], [[intervention]], tokens)
    (control,) = measure_changes(language, [text] * CONTROLS, [controls], tokens)
    kl, ce, logit = (
        _against_random(getattr(changes, name)[0], getattr(control, name))
        for name in ("kl", "ce", "logit")
    )
    positions = list(text[1])
    return TextEffectRecord(positions, changes.kl_by_position[0], kl, ce, logit, _promoted(changes))


def _promoted(changes: Changes) -> list[int]:
    logits = changes.logit_changes
    return logits.topk(min(PROMOTED_TOKENS, len(logits))).indices.tolist()


def _against_random(value: float, controls: Sequence[float]) -> ControlledValue:
    return ControlledValue(value, sum(controls) / len(controls), max(controls))


def _controls(
    intervention: FeatureIntervention, count: int, seed: int
) -> list[FeatureIntervention]:
    """Return copies of the intervention in random directions."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + intervention.index)
    direction = direction_of(intervention)
    return [
        intervention._replace(
            direction=torch.randn(direction.shape, generator=generator).to(direction.device)
        )
        for _ in range(count)
    ]
