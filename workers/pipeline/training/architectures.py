"""The settings of a training run, their validation, and SAELens's training configuration for each
architecture.
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

from features.records import NORM_RATIO, SAE_ARCHITECTURES, InvalidInput
from workers.pipeline.model.hooks import resolve_hook
from workers.pipeline.model.language import Language

L1_PER_SQRT_D_IN = 0.1


class TrainSettings(NamedTuple):
    """How to train an SAE.

    Token counts are of tokens that count (`CountingRule`). None means the architecture's default.

    `k`: active features per token (TopK), their mean (BatchTopK, Matryoshka) or target (JumpReLU).
    `l1_coefficient`: weight of the sparsity loss of standard and gated SAEs.
    `l0_coefficient`: weight of the sparsity loss of JumpReLU SAEs.
    `dead_tokens`: a feature that did not fire in this many tokens counts as dead. In the TopK
        family, dead features are trained on the residual error.
    `prepend_bos`: whether contexts begin with BOS. It is saved with the SAE; training ignores it.
    `norm_ratio`, `first_positions`: see `CountingRule`; the median norm is measured.
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
    norm_ratio: float = NORM_RATIO
    first_positions: int = 0
    batch_tokens: int = 2048
    learning_rate: float | None = None
    seed: int = 0
    dead_tokens: int = 100_000
    checkpoint_tokens: int = 100_000
    log_tokens: int = 20_000


class Architecture(NamedTuple):
    """A default learning rate, and a function from settings and common arguments to SAELens's
    configuration.
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
    return StandardTrainingSAEConfig(**_l1_arguments(settings, common), **common)


def _gated(settings: TrainSettings, common: dict[str, Any]) -> TrainingSAEConfig:
    return GatedTrainingSAEConfig(**_l1_arguments(settings, common), **common)


def _l1_arguments(settings: TrainSettings, common: dict[str, Any]) -> dict[str, Any]:
    """The L1 loss grows with the norm of the inputs, sqrt(d_in), and the squared error with its
    square, so the default coefficient is proportional to sqrt(d_in).
    """
    coefficient = settings.l1_coefficient
    if coefficient is None:
        coefficient = L1_PER_SQRT_D_IN * math.sqrt(common["d_in"])
    return {"l1_coefficient": coefficient, "l1_warm_up_steps": _sparsity_warm_up(settings)}


def _jumprelu(settings: TrainSettings, common: dict[str, Any]) -> TrainingSAEConfig:
    """Gemma Scope 2's quadratic penalty around a target L0, whose coefficient needs no tuning per
    layer.
    """
    coefficient = 1.0 if settings.l0_coefficient is None else settings.l0_coefficient
    return JumpReLUTrainingSAEConfig(
        jumprelu_sparsity_loss_mode="quadratic",
        target_l0=float(settings.k),
        l0_coefficient=coefficient,
        l0_warm_up_steps=_sparsity_warm_up(settings),
        jumprelu_init_threshold=0.1,
        jumprelu_bandwidth=0.1,
        **common,
    )


def _sparsity_warm_up(settings: TrainSettings) -> int:
    return training_steps(settings) // 10


ARCHITECTURES = {
    "topk": Architecture(4e-3, _topk),
    "batchtopk": Architecture(4e-3, _batchtopk),
    "matryoshka": Architecture(4e-3, _matryoshka),
    "standard": Architecture(2e-3, _standard),
    "jumprelu": Architecture(2e-3, _jumprelu),
    "gated": Architecture(2e-3, _gated),
}
"""The learning rates suit batches of 2,048 tokens and runs of about a million tokens.

TopK's was measured on the demo model (4 layers x 256) at blocks.2.hook_resid_post with width 2,048
and k 24 after 400,000 tokens: explained variance on held-out text, and the share of features that
did not fire on 40,000 held-out tokens.

    learning rate         0.001 (batch 1,024)   0.002    0.004    0.006
    explained variance    0.814                 0.824    0.841    0.826
    dead features         40%                   17%      8%       17%

`dead_tokens` of 30,000 instead of 100,000 made no difference (0.824, 18% at 0.002).
"""


def training_steps(settings: TrainSettings) -> int:
    """Return the number of optimizer steps of the whole run."""
    return max(1, settings.tokens // settings.batch_tokens)


def learning_rate(settings: TrainSettings) -> float:
    """Return the learning rate of `settings`, or the default of its architecture."""
    if settings.learning_rate is not None:
        return settings.learning_rate
    return ARCHITECTURES[settings.architecture].learning_rate


def validate_settings(settings: TrainSettings, language: Language) -> int:
    """Check `settings` against `language` and return `d_in`, the width of the activation at the
    hook.

    Raises `InvalidInput` with the name of the first setting that cannot work.
    """
    if settings.architecture not in ARCHITECTURES:
        raise InvalidInput(
            "architecture",
            f"There is no architecture {settings.architecture!r}; use {', '.join(ARCHITECTURES)}.",
        )
    d_in = resolve_hook(language.model, settings.hook).d_in
    _check_counts(settings)
    if not 2 <= settings.context_size <= language.context_size:
        message = f"The model takes contexts of 2 to {language.context_size} tokens."
        raise InvalidInput("context_size", message)
    for name in ("learning_rate", "l1_coefficient", "l0_coefficient"):
        value = getattr(settings, name)
        if value is not None and not 0 < value < float("inf"):
            raise InvalidInput(name, f"{name} must be a number above 0, not {value}.")
    return d_in


COUNTS = (
    "width",
    "k",
    "tokens",
    "context_size",
    "batch_tokens",
    "checkpoint_tokens",
    "log_tokens",
    "dead_tokens",
)


def _check_counts(settings: TrainSettings) -> None:
    if not 0 <= settings.norm_ratio < math.inf:
        raise InvalidInput("norm_ratio", "norm_ratio must be 0 (off) or a number above 0.")
    if not 0 <= settings.first_positions < settings.context_size:
        raise InvalidInput(
            "first_positions",
            f"Leave out 0 to {settings.context_size - 1} first tokens of a context, not "
            f"{settings.first_positions}.",
        )
    for name in COUNTS:
        if getattr(settings, name) < 1:
            raise InvalidInput(name, f"{name} must be at least 1, not {getattr(settings, name)}.")
    uses_k = SAE_ARCHITECTURES[settings.architecture].unused_setting != "k"
    if uses_k and settings.k > settings.width:
        raise InvalidInput("k", f"k ({settings.k}) cannot exceed the width ({settings.width}).")
    if settings.tokens < settings.batch_tokens:
        raise InvalidInput(
            "tokens",
            f"Give at least one batch of tokens ({settings.batch_tokens:,}), not "
            f"{settings.tokens:,}.",
        )


def sae_config(settings: TrainSettings, d_in: int, metadata: dict[str, Any]) -> TrainingSAEConfig:
    """Return SAELens's training configuration, with `metadata` added to its metadata.

    Inputs are scaled to a mean norm of sqrt(d_in). The scale is folded into the weights at the end
    of the run.
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
