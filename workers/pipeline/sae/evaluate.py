"""Measure an SAE on held-out text: what it reconstructs, how sparsely, and what the model loses
with it in its place.

Three forward passes per batch: the model as it is, with the SAE's reconstruction at the hook, and
with zero there. Special tokens keep their own activation in all three, and count nowhere. With x an
activation, y its reconstruction, over all counted tokens (float64):

    explained_variance = 1 - E|x - y|^2 / (E|x|^2 - |E x|^2)        mse = E|x - y|^2, summed over
    dimensions cosine = E cos(x, y)        l2_ratio = E |y| / |x|        l0 = mean number of
    features that fire ce_*  = cross-entropy of the next token in nats; kl_* = KL(model as it is ||
    changed model) of the next token ce_loss_score = (ce_zero - ce_sae) / (ce_zero - ce_original)
    kl_score = (kl_zero - kl_sae) / kl_zero dead_share, dense_share = features that never fired;
    that fired on more than 10% of the tokens reconstruction_bias = E |y|^2 / E x.y (shrinkage:
    below 1, scaling all y up would bring them nearer) explained_variance_per_token = E (1 - |x -
    y|^2 / |x - m|^2), m the mean of the token's batch: what SAEBench reports

and what the weights alone say (`quality`).

A transcoder is measured where it writes: x and zero are the activation there, y what it makes of
the one that it reads. Next-token numbers count positions where neither the token nor the next one
is special.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from sae_lens import SAE
from torch import Tensor

from features.records import Evaluation, InvalidInput, LogLine, Progress, SequenceRecord
from workers.pipeline.data.tokens import token_batches
from workers.pipeline.model.hooks import HookPoint, edit_hook, observe_hook, resolve_hook
from workers.pipeline.model.language import Language, check_context_length
from workers.pipeline.sae.io import reconstruct, require_fit, uses_centred_activations, written_hook
from workers.pipeline.sae.weight_quality import weight_quality

DENSITY_EDGES = [-7 + bin / 4 for bin in range(29)]
"""Edges of `Evaluation.density_histogram`: log10 of the share of tokens a feature fires on, 28 bins
from 1e-7 to 1.

A bin holds its lower edge, the last one its upper edge too; features that never fired are in no bin
(see `dead_share`).
"""
DENSE = 0.1
LOGITS_AT_ONCE = 1 << 25
"""At most this many logits per forward pass (128 MiB in float32)."""


@torch.no_grad()
def evaluate(
    language: Language,
    sae: SAE[Any],
    hook: str,
    sequences: Iterable[SequenceRecord],
    tokens: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | LogLine | Evaluation]:
    """Measure `sae` at `hook` on `sequences` until `tokens` tokens that are not special are
    counted.

    Yields `Progress`, and at the end one `Evaluation`; none where `should_stop()` turned true.
    `InvalidInput` where the SAE does not fit the hook, or the sequences hold no token to count.
    """
    points = _points(language, sae, hook)
    sums = _Sums(sae, language.device)
    total: int | None = None
    for ids in _batches(language, sequences):
        if should_stop():
            yield LogLine(f"Stopped after {sums.tokens:,} tokens.")
            return
        _measure(language, sae, points, ids, sums)
        total = tokens
        yield Progress(min(sums.tokens, tokens), tokens, "tokens", "measuring on held-out text")
        if sums.tokens >= tokens:
            break
    if total is None or not sums.tokens:
        raise InvalidInput(
            "corpus", "The held-out part of the corpus holds no tokens to evaluate on."
        )
    if sums.tokens < tokens:
        yield LogLine(f"The held-out text ended after {sums.tokens:,} of {tokens:,} tokens.")
    values = sums.values() | weight_quality(sae, should_stop=should_stop)
    if should_stop():
        yield LogLine("Stopped before the last number.")
        return
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    yield Evaluation(sums.tokens, finite, density_histogram(sums.fires, sums.tokens))


def density_histogram(fires: Int64[Tensor, " d_sae"], tokens: int) -> list[int]:
    """How many features fire on which share of `tokens`, in the bins of `DENSITY_EDGES`."""
    shares = (fires[fires > 0].double() / tokens).log10().clamp(DENSITY_EDGES[0], DENSITY_EDGES[-1])
    edges = torch.tensor(DENSITY_EDGES, dtype=torch.float64, device=shares.device)
    bins = (torch.bucketize(shares, edges, right=True) - 1).clamp(max=len(DENSITY_EDGES) - 2)
    return torch.bincount(bins, minlength=len(DENSITY_EDGES) - 1).tolist()


class _Points(NamedTuple):
    """Where an SAE reads and writes (one place, but for a transcoder), and whether it reads without
    the mean.
    """

    read: HookPoint
    written: HookPoint
    without_mean: bool


def _points(language: Language, sae: SAE[Any], hook: str) -> _Points:
    read, written = (resolve_hook(language.model, name) for name in (hook, written_hook(sae, hook)))
    require_fit(sae, read)
    if sae.W_dec.shape[1] != written.d_in:
        raise InvalidInput(
            "sae",
            f"The SAE writes {sae.W_dec.shape[1]} dimensions, but {written.name} has "
            f"{written.d_in}.",
        )
    return _Points(read, written, uses_centred_activations(sae, language.model, hook))


class _Sums:
    """Sums over counted tokens, in float64."""

    def __init__(self, sae: SAE[Any], device: torch.device) -> None:
        self.tokens = self.predictions = 0
        self.total: dict[str, float] = {}
        self.mean = torch.zeros(sae.W_dec.shape[1], dtype=torch.float64, device=device)
        self.fires = torch.zeros(sae.cfg.d_sae, dtype=torch.int64, device=device)

    def add(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.total[name] = self.total.get(name, 0.0) + value.sum(dtype=torch.float64).item()

    def reconstruction(self, x: Tensor, y: Tensor, codes: Tensor) -> None:
        """One batch of counted tokens: activations and reconstructions [tokens, d_out], features
        [tokens, d_sae].
        """
        x, y = x.double(), y.double()
        norm, length = x.norm(dim=-1), y.norm(dim=-1)
        self.tokens += len(x)
        self.mean += x.sum(0)
        self.fires += (codes != 0).sum(0)
        dot = (x * y).sum(-1)
        error, spread = (x - y).pow(2).sum(-1), (x - x.mean(0)).pow(2).sum(-1)
        self.add(error=error, power=x.pow(2), rebuilt=y.pow(2), dot=dot)
        self.add(per_token=1 - error / spread.clamp(min=1e-12))
        self.add(
            cosine=dot / (norm * length).clamp(min=1e-12), ratio=length / norm.clamp(min=1e-12)
        )

    def values(self) -> dict[str, float]:
        total, count = self.total, self.tokens
        variance = total["power"] / count - (self.mean / count).pow(2).sum().item()
        density = self.fires.double() / count
        values = {
            "l0": self.fires.sum().item() / count,
            "explained_variance": 1 - total["error"] / count / variance
            if variance > 0
            else float("nan"),
            "mse": total["error"] / count,
            "cosine": total["cosine"] / count,
            "l2_ratio": total["ratio"] / count,
            "dead_share": (self.fires == 0).double().mean().item(),
            "dense_share": (density > DENSE).double().mean().item(),
            "reconstruction_bias": total["rebuilt"] / total["dot"]
            if total["dot"]
            else float("nan"),
            "explained_variance_per_token": total["per_token"] / count,
        }
        return values | self._next_token()

    def _next_token(self) -> dict[str, float]:
        if not self.predictions:
            return {}
        names = ("ce_original", "ce_sae", "ce_zero", "kl_sae", "kl_zero")
        values = {name: self.total[name] / self.predictions for name in names}
        lost = values["ce_zero"] - values["ce_original"]
        values["ce_loss_score"] = (
            (values["ce_zero"] - values["ce_sae"]) / lost if lost else float("nan")
        )
        values["kl_score"] = (
            (values["kl_zero"] - values["kl_sae"]) / values["kl_zero"]
            if values["kl_zero"]
            else float("nan")
        )
        return values


def _measure(
    language: Language, sae: SAE[Any], points: _Points, ids: Int64[Tensor, "batch pos"], sums: _Sums
) -> None:
    """Add one batch: reconstruction at the hook, and next-token numbers of the three forward
    passes.
    """
    ordinary = ~torch.isin(ids, language.special_ids)
    if not ordinary.any():
        return
    seen: dict[str, Tensor] = {}

    def read(x: Tensor) -> None:
        seen["codes"], seen["y"] = reconstruct(sae, x[ordinary].float(), points.without_mean)

    def replace(x: Tensor) -> Tensor:
        if not seen:
            places = (
                f"The SAE writes to {points.written.name}, which comes before "
                f"{points.read.name}, where it reads"
            )
            raise InvalidInput("sae", f"{places}: one of the two is wrong.")
        seen["x"] = x[ordinary].float()
        return _with(x, ordinary, seen["y"])

    def remove(x: Tensor) -> Tensor:
        return _with(x, ordinary, torch.zeros_like(x[ordinary]))

    predicted = ordinary[:, :-1] & ordinary[:, 1:]
    targets = ids[:, 1:][predicted]
    original = _log_probabilities(language, ids, predicted)
    changed = _log_probabilities(
        language,
        ids,
        predicted,
        observe_hook(points.read, read),
        edit_hook(points.written, replace),
    )
    zero = _log_probabilities(language, ids, predicted, edit_hook(points.written, remove))
    sums.reconstruction(seen["x"], seen["y"], seen["codes"])
    sums.predictions += len(targets)
    picked = targets[:, None]
    sums.add(
        ce_original=-original.gather(1, picked),
        ce_sae=-changed.gather(1, picked),
        ce_zero=-zero.gather(1, picked),
    )
    sums.add(kl_sae=_divergence(original, changed), kl_zero=_divergence(original, zero))


def _divergence(original: Tensor, changed: Tensor) -> Float[Tensor, " predictions"]:
    return torch.nn.functional.kl_div(changed, original, reduction="none", log_target=True).sum(-1)


def _with(x: Tensor, where: Bool[Tensor, "batch pos"], values: Tensor) -> Tensor:
    changed = x.clone()
    changed[where] = values.to(x.dtype)
    return changed


def _log_probabilities(
    language: Language,
    ids: Int64[Tensor, "batch pos"],
    predicted: Bool[Tensor, "batch before"],
    *hooks: AbstractContextManager[None],
) -> Float[Tensor, "predictions vocabulary"]:
    with ExitStack() as stack:
        for hook in hooks:
            stack.enter_context(hook)
        logits = language.model(input_ids=ids, use_cache=False).logits
    return logits[:, :-1][predicted].float().log_softmax(dim=-1)


def _batches(
    language: Language, sequences: Iterable[SequenceRecord]
) -> Iterator[Int64[Tensor, "batch pos"]]:
    """Batches as large as `LOGITS_AT_ONCE` allows, at most 32 contexts, on the model's device."""
    vocabulary = int(language.model.config.get_text_config().vocab_size)
    iterator = iter(sequences)
    while group := list(islice(iterator, 32)):
        longest = max(len(sequence.token_ids) for sequence in group)
        size = max(1, min(32, LOGITS_AT_ONCE // (vocabulary * longest)))
        for ids in token_batches(group, size, language.special_ids):
            check_context_length(language, ids)
            yield ids.to(language.device)
