"""What can be trained: the settings a person gives, and how each architecture turns them into
SAELens's configuration.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from sae_lens import (
    BatchTopKTrainingSAEConfig,
    GatedTrainingSAEConfig,
    JumpReLUTrainingSAEConfig,
    MatryoshkaBatchTopKTrainingSAEConfig,
    StandardTrainingSAEConfig,
    TopKTrainingSAEConfig,
    TrainingSAEConfig,
)

from workers.pipeline.errors import BadInput
from workers.pipeline.model.hooks import resolve
from workers.pipeline.model.language import Language

L1_PER_ROOT = 0.1
WITHOUT_K = frozenset({"standard", "gated"})


class TrainSettings(NamedTuple):
    """How to train an SAE. Token counts leave out special and sink tokens; None takes the
    architecture's own default.

    `k` is the number of features active per token (TopK), its mean (BatchTopK, Matryoshka) or its
    target (JumpReLU); `l1_coefficient` weighs sparsity for standard and gated, `l0_coefficient` for
    JumpReLU. `dead_tokens` is the window in which a feature that never fired counts as dead (and,
    in the TopK family, is trained to explain what the rest miss). `prepend_bos` says how the
    contexts were cut; training does not read it, the SAE remembers it.
    """

    hook: str
    architecture: str = "topk"
    width: int = 2048
    k: int = 24
    l1_coefficient: float | None = None
    l0_coefficient: float | None = None
    tokens: int = 1_000_000
    context_size: int = 128
    prepend_bos: bool = True
    batch_tokens: int = 2048
    learning_rate: float | None = None
    seed: int = 0
    dead_tokens: int = 100_000
    checkpoint_tokens: int = 100_000
    log_tokens: int = 20_000


class Architecture(NamedTuple):
    """One entry of `ARCHITECTURES`: its learning rate, and SAELens's configuration for settings and
    common arguments.
    """

    learning_rate: float
    configure: Callable[[TrainSettings, dict[str, Any]], TrainingSAEConfig]


def _topk(settings: TrainSettings, common: dict[str, Any]) -> TrainingSAEConfig:
    return TopKTrainingSAEConfig(k=settings.k, **common)


def _batchtopk(settings: TrainSettings, common: dict[str, Any]) -> TrainingSAEConfig:
    return BatchTopKTrainingSAEConfig(k=float(settings.k), **common)


def _matryoshka(settings: TrainSettings, common: dict[str, Any]) -> TrainingSAEConfig:
    widths = sorted({max(1, settings.width // 16), max(1, settings.width // 4), settings.width})
    return MatryoshkaBatchTopKTrainingSAEConfig(
        k=float(settings.k), matryoshka_widths=widths, **common
    )


def _standard(settings: TrainSettings, common: dict[str, Any]) -> TrainingSAEConfig:
    weight = _l1(settings, common)
    return StandardTrainingSAEConfig(
        l1_coefficient=weight, l1_warm_up_steps=steps(settings) // 10, **common
    )


def _gated(settings: TrainSettings, common: dict[str, Any]) -> TrainingSAEConfig:
    weight = _l1(settings, common)
    return GatedTrainingSAEConfig(
        l1_coefficient=weight, l1_warm_up_steps=steps(settings) // 10, **common
    )


def _l1(settings: TrainSettings, common: dict[str, Any]) -> float:
    """Activations grow with the norm of the inputs, sqrt(d_in), and squared errors with its square:
    so must the weight.
    """
    return (
        L1_PER_ROOT * math.sqrt(common["d_in"])
        if settings.l1_coefficient is None
        else settings.l1_coefficient
    )


def _jumprelu(settings: TrainSettings, common: dict[str, Any]) -> TrainingSAEConfig:
    """Gemma Scope 2's quadratic penalty around a target L0, which needs no tuning of a coefficient
    per layer.
    """
    weight = 1.0 if settings.l0_coefficient is None else settings.l0_coefficient
    return JumpReLUTrainingSAEConfig(
        jumprelu_sparsity_loss_mode="quadratic",
        target_l0=float(settings.k),
        l0_coefficient=weight,
        l0_warm_up_steps=steps(settings) // 10,
        jumprelu_init_threshold=0.1,
        jumprelu_bandwidth=0.1,
        **common,
    )


ARCHITECTURES = {
    "topk": Architecture(4e-3, _topk),
    "batchtopk": Architecture(4e-3, _batchtopk),
    "matryoshka": Architecture(4e-3, _matryoshka),
    "standard": Architecture(2e-3, _standard),
    "jumprelu": Architecture(2e-3, _jumprelu),
    "gated": Architecture(2e-3, _gated),
}
"""Learning rates are for batches of 2,048 tokens and runs of about a million.

TopK's was measured on the demo model (4 layers x 256) at blocks.2.hook_resid_post, width 2,048, k
24, after only 400,000 tokens; explained variance on held-out text, and features that never fired on
40,000 held-out tokens:

    learning rate   0.001 (batch 1,024)   0.002    0.004    0.006
    held out        0.814                 0.824    0.841    0.826
    never fired     40%                   17%      8%       17%

A dead window of 30,000 tokens instead of 100,000 changed neither (0.824, 18% at 0.002).
"""


def steps(settings: TrainSettings) -> int:
    """Optimizer steps of a whole run."""
    return max(1, settings.tokens // settings.batch_tokens)


def learning_rate(settings: TrainSettings) -> float:
    """The learning rate given, or the architecture's default."""
    given = settings.learning_rate
    return ARCHITECTURES[settings.architecture].learning_rate if given is None else given


def validate(settings: TrainSettings, language: Language) -> int:
    """The hook's width in `language`. Raises `BadInput`, naming the field, for settings that cannot
    work.
    """
    if settings.architecture not in ARCHITECTURES:
        raise BadInput(
            "architecture",
            f"There is no architecture {settings.architecture!r}; use {', '.join(ARCHITECTURES)}.",
        )
    d_in = resolve(language.model, settings.hook).d_in
    for name in (
        "width",
        "k",
        "tokens",
        "context_size",
        "batch_tokens",
        "checkpoint_tokens",
        "log_tokens",
        "dead_tokens",
    ):
        if getattr(settings, name) < 1:
            raise BadInput(name, f"{name} must be at least 1, not {getattr(settings, name)}.")
    if settings.k > settings.width and settings.architecture not in WITHOUT_K:
        raise BadInput("k", f"k ({settings.k}) cannot exceed the width ({settings.width}).")
    if settings.tokens < settings.batch_tokens:
        raise BadInput(
            "tokens",
            f"Give at least one batch of tokens ({settings.batch_tokens:,}), not "
            f"{settings.tokens:,}.",
        )
    if not 2 <= settings.context_size <= language.context_size:
        raise BadInput(
            "context_size", f"The model takes contexts of 2 to {language.context_size} tokens."
        )
    for name in ("learning_rate", "l1_coefficient", "l0_coefficient"):
        value = getattr(settings, name)
        if value is not None and not 0 < value < float("inf"):
            raise BadInput(name, f"{name} must be a number above 0, not {value}.")
    return d_in


def sae_config(settings: TrainSettings, d_in: int, metadata: dict[str, Any]) -> TrainingSAEConfig:
    """SAELens's training configuration; inputs are scaled to a mean norm of sqrt(d_in), which the
    end of the run folds.
    """
    common = {
        "d_in": d_in,
        "d_sae": settings.width,
        "dtype": "float32",
        "normalize_activations": "expected_average_only_in",
    }
    config = ARCHITECTURES[settings.architecture].configure(settings, common)
    for name, value in metadata.items():
        config.metadata[name] = value
    return config
