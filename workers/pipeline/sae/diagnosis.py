"""Diagnose an implausible reconstruction: try the SAE at the model's other hooks, and with its
input scaled.

An SAE explains most of the variance of the activations that it was trained on, and next to nothing,
or less than nothing, of others. So the hook or scale at which it works shows what is wrong.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from sae_lens import SAE
from sae_lens.saes.transcoder import Transcoder
from torch import Tensor

from features.records import COUNT_ORDINARY, CountingRule, Evaluation, SequenceRecord
from workers.pipeline.data.tokens import token_batches
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.counted_tokens import ordinary_tokens, outlier_tokens
from workers.pipeline.model.hooks import hook_names, resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.reconstruct import reconstruct, uses_centred_activations

PLAUSIBLE_VARIANCE = 0.3
"""A lower explained variance is not the result of a successful training, or not of this model and
hook.
"""
TRIAL_TOKENS = 2048
"""Number of tokens on which other hooks and scales are tried."""
SCALED = "scaled"


@torch.no_grad()
def diagnose_reconstruction(
    language: Language,
    sae: SAE[Any],
    hook: str,
    contexts: Sequence[SequenceRecord],
    evaluation: Evaluation,
) -> list[str]:
    """Return warnings, with their probable causes, about the `evaluation` of `sae` at `hook`.

    `contexts` are some of those that it was evaluated on.
    """
    values = evaluation.values
    warnings = []
    explained = values.get("explained_variance", math.nan)
    if not explained >= PLAUSIBLE_VARIANCE:  # true for NaN
        trials = {}
        if not isinstance(sae, Transcoder):
            trials = try_alternatives(language, sae, hook, contexts, evaluation.rule)
        warnings.append(explain_low_variance(explained, evaluation.tokens, hook, trials))
    if values["l0"] == 0:
        warnings.append("No feature fires on any token of the test.")
    uniform = math.log(int(language.model.config.get_text_config().vocab_size))
    if values.get("ce_original", 0.0) > uniform:
        warnings.append(
            "The model itself predicts the text worse than by chance "
            f"({values['ce_original']:.1f} nats per token; its vocabulary at random gives "
            f"{uniform:.1f}): is this tokenizer the model's own?"
        )
    return warnings


def explained_variance(x: Float[Tensor, "tokens d"], y: Float[Tensor, "tokens d"]) -> float:
    """Return 1 - E|x - y|^2 / (E|x|^2 - |E x|^2) of activations x and their reconstructions y."""
    x, y = x.double(), y.double()
    return 1 - ((x - y).pow(2).sum() / (x - x.mean(0)).pow(2).sum()).item()


def try_alternatives(
    language: Language,
    sae: SAE[Any],
    hook: str,
    contexts: Sequence[SequenceRecord],
    rule: CountingRule = COUNT_ORDINARY,
) -> dict[str, float]:
    """Return the explained variance at every other hook of the SAE's width, and at its own hook
    with scaled input (`SCALED`).

    Outliers are left out by the `norm_ratio` of `rule` and the median norm at each hook.
    """
    hooks = [
        name
        for name in hook_names(language.model)
        if resolve_hook(language.model, name).d_in == sae.cfg.d_in
    ]
    trials: dict[str, float] = {}
    for name, x in _activations(language, hooks, _first_contexts(contexts), rule):
        if name == hook:
            scale = math.sqrt(x.shape[1]) / x.norm(dim=-1).mean().item()
            _, y = reconstruct(sae, x * scale)
            trials[SCALED] = explained_variance(x, y / scale)
        else:
            _, y = reconstruct(sae, x, uses_centred_activations(sae, language.model, name))
            trials[name] = explained_variance(x, y)
    return trials


def explain_low_variance(explained: float, tokens: int, hook: str, trials: dict[str, float]) -> str:
    """Return a warning about the variance explained at `hook`, with the best of `trials` if it is
    plausible.
    """
    if explained >= 0:
        result = f"It explains {explained:.0%} of the variance of {tokens:,} tokens at {hook}"
    else:
        result = (
            f"At {hook} it rebuilds {tokens:,} tokens worse than their mean would (explained "
            f"variance {explained:.3g})"
        )
    warning = (
        f"{result}; below {PLAUSIBLE_VARIANCE:.0%} something is wrong. Usual causes: another hook "
        "or layer than it was trained at, another model or revision, an input scale that was not "
        "folded, or contexts with BOS where it was trained without (or the other way round)."
    )
    best = max(trials, key=trials.__getitem__, default=None)
    if best is None or trials[best] < PLAUSIBLE_VARIANCE:
        return warning
    if best == SCALED:
        return (
            f"{warning} With its inputs scaled to a mean norm of √d it explains "
            f"{trials[best]:.0%}: their scale was not folded."
        )
    return f"{warning} At {best} it explains {trials[best]:.0%}: that is probably where it belongs."


def _first_contexts(contexts: Sequence[SequenceRecord]) -> Sequence[SequenceRecord]:
    """About `TRIAL_TOKENS` tokens of contexts."""
    if not contexts:
        return []
    return contexts[: max(1, TRIAL_TOKENS // max(1, len(contexts[0].token_ids)))]


def _activations(
    language: Language,
    hooks: Sequence[str],
    contexts: Sequence[SequenceRecord],
    rule: CountingRule,
) -> Iterator[tuple[str, Float[Tensor, "tokens d_in"]]]:
    """Activations at each hook of the tokens that count, from one forward pass."""
    if not hooks or not contexts:
        return
    (ids,) = token_batches(contexts, len(contexts), language.special_ids)
    ordinary = ordinary_tokens(ids, language.special_ids, rule.first_positions)
    (activations,) = activations_at(language, hooks, [ids])
    for name, activation in activations.items():
        x = activation[ordinary.to(activation.device)]
        median = x.norm(dim=-1).median().item() if len(x) else 0.0
        yield name, x[~outlier_tokens(x, rule._replace(median_norm=median))]
