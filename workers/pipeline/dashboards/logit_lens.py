"""The effect of a decoder direction on the next-token logits (the logit lens), through the model's
own final norm and unembedding.

For a feature with decoder row d (as the SAE was loaded, every scale folded in), the effect is

    logits = U (g * c(d))

where U is the unembedding, g the gain of the final norm, and c subtracts the mean over the residual
stream if that norm does (LayerNorm) and nothing if not (RMSNorm). This is the change of the logits
per unit of activation, without the norm's divisor (the size of a real residual), a soft cap on the
logits, and biases. The divisor is a positive factor common to all tokens of a position, so ranks
and signs are correct, and the scale is comparable between features of one SAE.

A direction at `attn.hook_z` reaches the residual stream through attention's output projection.
Vocabulary rows that are special, unused or single-byte fallbacks are masked by default, because
they are rarely trained and would fill the tables.
"""

import copy
import re
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers import PreTrainedModel

from features.records import InvalidInput, ReadoutRecord
from workers.pipeline.model.hooks import MLP_IN, resolve_hook
from workers.pipeline.model.language import Language

BINS = 50
BLOCK = 1 << 23
"""Logits computed at once: 32 MB of float32, for any number of features."""

PLACEHOLDER = re.compile(
    r"[<\[|]+(unused|reserved|extra_id|extra_token|pad|dummy|special_token)[\w|]*[>\]|]+",
    re.IGNORECASE,
)
FALLBACK = re.compile(r"<0x[0-9A-Fa-f]{2}>")
UNMASKED, SPECIAL, UNUSED, BYTE = range(4)
"""Why a row of the unembedding is masked."""


class LogitTable(NamedTuple):
    """Logit effects of a block of features: the ends of the ranking, and a histogram over the
    unmasked vocabulary.

    `top` is falling and `bottom` rising. `histogram` has `BINS` equal bins from `low` to `high`,
    the last one closed.
    """

    top_ids: Int64[Tensor, "features k"]
    top: Float[Tensor, "features k"]
    bottom_ids: Int64[Tensor, "features k"]
    bottom: Float[Tensor, "features k"]
    histogram: Int64[Tensor, "features bins"]
    low: Float[Tensor, " features"]
    high: Float[Tensor, " features"]


class Readout(NamedTuple):
    """How a model maps its residual stream to logits, as defined at the top of this file.

    `gain` and `centred` describe the final norm. `unmasked` are the ids of the unmasked rows of
    `unembedding`.
    """

    gain: Float[Tensor, " d_model"]
    centred: bool
    unembedding: Float[Tensor, "vocabulary d_model"]
    unmasked: Int64[Tensor, " unmasked"]

    def logits(
        self, directions: Float[Tensor, "features d_model"]
    ) -> Float[Tensor, "features unmasked"]:
        """Return the effect of directions of the residual stream on each unmasked logit."""
        if self.centred:
            directions = directions - directions.mean(1, keepdim=True)
        effects = (directions.to(self.gain) * self.gain) @ self.unembedding.T
        return effects if len(self.unmasked) == effects.shape[1] else effects[:, self.unmasked]

    @torch.no_grad()
    def table(self, directions: Float[Tensor, "features d_model"], count: int) -> LogitTable:
        """Return the `count` highest and lowest effects (fewer in a smaller vocabulary) and a
        histogram of all.
        """
        count = min(count, len(self.unmasked))
        blocks = [
            self._table(block, count)
            for block in directions.split(max(1, BLOCK // len(self.unembedding)))
        ]
        return LogitTable(*(torch.cat(parts) for parts in zip(*blocks, strict=True)))

    def _table(self, directions: Float[Tensor, "block d_model"], count: int) -> LogitTable:
        logits = self.logits(directions)
        top, bottom = logits.topk(count), logits.topk(count, largest=False)
        low, high = logits.amin(1, keepdim=True), logits.amax(1, keepdim=True)
        step = ((high - low) / BINS).clamp(min=torch.finfo(torch.float32).tiny)
        bins = ((logits - low) / step).long().clamp_(0, BINS - 1)
        histogram = torch.zeros(len(logits), BINS, dtype=torch.int64, device=logits.device)
        histogram.scatter_add_(1, bins, torch.ones_like(bins))
        ends = (
            self.unmasked[top.indices],
            top.values,
            self.unmasked[bottom.indices],
            bottom.values,
        )
        return LogitTable(*ends, histogram, low[:, 0], high[:, 0])


@torch.no_grad()
def find_readout(model: PreTrainedModel, masked: Bool[Tensor, " vocabulary"]) -> Readout:
    """Return a model's readout.

    Raises `InvalidInput("model")` if it has no unembedding or no unmasked token.

    The gain of the final norm is measured on two vectors, because model families store it
    differently.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise InvalidInput(
            "model", f"{type(model).__name__} has no unembedding, so its features have no logits."
        )
    unembedding = head.weight.detach().float()
    unmasked = (~masked.to(unembedding.device)).nonzero()[:, 0]
    if not len(unmasked):
        raise InvalidInput(
            "model",
            "Every token of the vocabulary is special, unused or a byte fallback: no logits to "
            "show.",
        )
    width = unembedding.shape[1]
    norm = _final_norm(model, width)
    if norm is None:
        return Readout(torch.ones(width, device=unembedding.device), False, unembedding, unmasked)
    norm = copy.deepcopy(norm).float()
    # Entries of +-1000 have mean 0, and a root mean square that makes epsilon negligible.
    probe = torch.full((width,), 1000.0, device=unembedding.device)
    probe[width // 2 :] *= -1
    gain = (norm(probe) - norm(-probe)) / 2 * probe.sign()  # half the difference cancels a bias
    centred = torch.allclose(norm(probe + 500), norm(probe), rtol=1e-3, atol=1e-6)
    return Readout(gain, centred, unembedding, unmasked)


def to_residual(
    model: PreTrainedModel, decoder: Float[Tensor, "features d_in"], hook: str
) -> Float[Tensor, "features d_model"]:
    """Return decoder rows as directions of the residual stream.

    Raises `InvalidInput("sae")` if they write nothing to it, or their width does not fit.
    """
    point = resolve_hook(model, hook)
    if hook.endswith(MLP_IN):
        raise InvalidInput(
            "sae",
            f"The SAE writes to {hook}, but only the MLP reads that: its features have no logits.",
        )
    width = int(model.config.get_text_config().hidden_size)
    head = model.get_output_embeddings()
    if head is not None and head.weight.shape[1] != width:
        raise InvalidInput(
            "model",
            f"The unembedding reads {head.weight.shape[1]} dimensions, the residual stream has "
            f"{width}.",
        )
    if hook.endswith("attn.hook_z") and decoder.shape[1] == point.d_in:
        weight = point.module.weight
        assert isinstance(weight, Tensor)
        stored_out_first = isinstance(point.module, nn.Linear)  # GPT-2's Conv1D stores [in, out]
        return decoder.float() @ (weight.T if stored_out_first else weight).float()
    if decoder.shape[1] != width:
        raise InvalidInput(
            "sae",
            f"The SAE writes {decoder.shape[1]} dimensions; the model's residual stream has "
            f"{width}.",
        )
    return decoder.float()


def masked_tokens(language: Language) -> Bool[Tensor, " vocabulary"]:
    """Return which rows of the unembedding are special, unused (placeholders, rows without a token)
    or byte fallbacks.
    """
    return _reasons(language) != UNMASKED


def readout_record(language: Language, hook: str) -> ReadoutRecord:
    """Describe how the logits of directions written at `hook` are computed, for display."""
    readout = find_readout(language.model, masked_tokens(language))
    norm = _final_norm(language.model, readout.unembedding.shape[1])
    counts = torch.bincount(_reasons(language), minlength=4).tolist()
    return ReadoutRecord(
        norm=type(norm).__name__ if norm is not None else "",
        centred=readout.centred,
        gain_low=readout.gain.min().item(),
        gain_high=readout.gain.max().item(),
        through="attention's output projection" if hook.endswith("attn.hook_z") else "",
        rows=len(readout.unembedding),
        special=counts[SPECIAL],
        unused=counts[UNUSED],
        fallback=counts[BYTE],
    )


def _reasons(language: Language) -> Int64[Tensor, " vocabulary"]:
    """Return why each row of the unembedding is masked: `UNMASKED`, `SPECIAL`, `UNUSED` or `BYTE`;
    special takes precedence.
    """
    rows = language.model.get_output_embeddings().weight.shape[0]
    reasons = torch.full((rows,), UNUSED)
    for text, token_id in language.tokenizer.get_vocab().items():
        if token_id < rows:
            reasons[token_id] = _reason(text)
    special = language.special_ids.cpu()
    reasons[special[special < rows]] = SPECIAL
    return reasons


def _reason(token: str) -> int:
    if PLACEHOLDER.fullmatch(token):
        return UNUSED
    return BYTE if FALLBACK.fullmatch(token) else UNMASKED


def _final_norm(model: PreTrainedModel, width: int) -> nn.Module | None:
    """Return the last norm of the model's width outside the list of blocks."""
    norm = None
    for name, module in model.named_modules():
        in_a_list = any(part.isdigit() for part in name.split("."))
        weight = getattr(module, "weight", None)
        if (
            not in_a_list
            and "Norm" in type(module).__name__
            and weight is not None
            and weight.shape == (width,)
        ):
            norm = module
    return norm
