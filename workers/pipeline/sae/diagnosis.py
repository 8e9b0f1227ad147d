"""What an implausible reconstruction comes from: the SAE is tried at the model's other hooks, and
with its input scaled.

A good SAE explains most of the variance of the activations that it was trained on, and next to
nothing (or less than nothing) of others; so where it works tells what is wrong.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from sae_lens import SAE
from sae_lens.saes.transcoder import Transcoder
from torch import Tensor

from features.records import Evaluation, SequenceRecord
from workers.pipeline.data.tokens import token_batches
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.hooks import hook_names, resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.sae.io import reconstruct, uses_centred_activations

PLAUSIBLE = 0.3
"""Explained variance below this is no result of a training that worked, or not of this model and
hook.
"""
TRIED = 2048
"""Tokens on which other hooks and scales are tried."""
SCALED = "scaled"


class Suspicion(NamedTuple):
    """Something that looks wrong with an SAE, in words for who imported it."""

    text: str


@torch.no_grad()
def diagnose_reconstruction(
    language: Language,
    sae: SAE[Any],
    hook: str,
    contexts: Iterable[SequenceRecord],
    measured: Evaluation,
) -> list[Suspicion]:
    """What `measured` gives reason to doubt, each with its likely cause. `contexts` are some that
    it was measured on.
    """
    values = measured.values
    found = []
    explained = values.get("explained_variance", math.nan)
    if not explained >= PLAUSIBLE:
        tried = (
            _tried(language, sae, hook, list(contexts)) if not isinstance(sae, Transcoder) else {}
        )
        found.append(Suspicion(_implausible(explained, measured.tokens, hook, tried)))
    if values["l0"] == 0:
        found.append(Suspicion("No feature fires on any token of the test."))
    chance = math.log(int(language.model.config.get_text_config().vocab_size))
    if values.get("ce_original", 0.0) > chance:
        found.append(
            Suspicion(
                "The model itself predicts the text worse than by chance "
                f"({values['ce_original']:.1f} nats per token; its"
                f" vocabulary at random gives {chance:.1f}): is this tokenizer the model's own?"
            )
        )
    return found


def explained_variance(x: Float[Tensor, "tokens d"], y: Float[Tensor, "tokens d"]) -> float:
    """1 - E|x - y|^2 / (E|x|^2 - |E x|^2) of activations and their reconstructions, in float64."""
    x, y = x.double(), y.double()
    return 1 - ((x - y).pow(2).sum() / (x - x.mean(0)).pow(2).sum()).item()


def _implausible(explained: float, tokens: int, hook: str, tried: dict[str, float]) -> str:
    told = f"It explains {explained:.0%} of the variance of {tokens:,} tokens at {hook}"
    if not explained >= 0:
        told = (
            f"At {hook} it rebuilds {tokens:,} tokens worse than their mean would (explained "
            f"variance {explained:.3g})"
        )
    text = (
        f"{told}; below {PLAUSIBLE:.0%} something is wrong. Usual causes: another hook or layer "
        "than it was trained at, another"
        " model or revision, an input scale that was not folded, or contexts with BOS where it "
        "was trained without (or the"
        " other way round)."
    )
    best = max(tried, key=tried.__getitem__, default=None)
    if best is None or tried[best] < PLAUSIBLE:
        return text
    if best == SCALED:
        return (
            f"{text} With its inputs scaled to a mean norm of √d it explains "
            f"{tried[best]:.0%}: their scale was not folded."
        )
    return f"{text} At {best} it explains {tried[best]:.0%}: that is probably where it belongs."


def _tried(
    language: Language, sae: SAE[Any], hook: str, contexts: list[SequenceRecord]
) -> dict[str, float]:
    """Explained variance elsewhere, at every other hook of its width, and at its own with `SCALED`
    input.
    """
    few = (
        list(islice(contexts, max(1, TRIED // max(1, len(contexts[0].token_ids)))))
        if contexts
        else []
    )
    hooks = [
        name
        for name in hook_names(language.model)
        if resolve_hook(language.model, name).d_in == sae.cfg.d_in
    ]
    found: dict[str, float] = {}
    for name, x in _activations(language, hooks, few):
        _, y = reconstruct(sae, x, uses_centred_activations(sae, language.model, name))
        if name == hook:
            scale = math.sqrt(x.shape[1]) / x.norm(dim=-1).mean().item()
            found[SCALED] = explained_variance(x, reconstruct(sae, x * scale)[1] / scale)
        else:
            found[name] = explained_variance(x, y)
    return found


def _activations(
    language: Language, hooks: list[str], contexts: list[SequenceRecord]
) -> Iterator[tuple[str, Float[Tensor, "tokens d_in"]]]:
    """Activations at each hook of the tokens that are not special, in one forward pass."""
    if not hooks or not contexts:
        return
    (ids,) = token_batches(contexts, len(contexts), language.special_ids)
    ordinary = ~torch.isin(ids, language.special_ids.cpu())
    for activations in activations_at(language, hooks, [ids]):
        for name, activation in activations.items():
            yield name, activation[ordinary.to(activation.device)]
