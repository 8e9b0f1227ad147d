"""The effect of a decoder direction on the next-token logits (the logit lens), through the model's
own final norm and unembedding.

For a feature with decoder row d (as the SAE was loaded, every scale folded in), the effect is

    logits = s U (g * c(d))

where U is the unembedding, s the model's own factor of the logits (Cohere, Granite), g the gain of
the final norm, and c subtracts the mean over the residual stream if that norm does (LayerNorm) and
nothing if not (RMSNorm). This is the change of the logits per unit of activation, without the
norm's divisor (the size of a real residual), a soft cap on the logits, and biases. Divisor and soft
cap are positive factors, the divisor's common to all tokens of a position, so that ranks and signs
are correct, and the scale is comparable between features of one SAE. In other words, it is the
derivative of the logits at any residual of unit size to which d is orthogonal.

Where more than one norm stands before the unembedding, there is no such fixed form, and the effect
is s U J d: J is the head's derivative, the mean over the last residuals of 14 fixed tokens
(`workers.pipeline.model.head`). This one includes the divisors.

A direction at `attn.hook_z` reaches the residual stream through attention's output projection, and
through the gain of the norm after it where there is one (Gemma 2).
Vocabulary rows that are special, unused or single-byte fallbacks are masked by default, because
they are rarely trained and would fill the tables.
"""

import re
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from transformers import PreTrainedModel

from features.records import InvalidInput, ReadoutRecord
from workers.pipeline.model.block_parts import is_norm
from workers.pipeline.model.head import find_head, measure_norm
from workers.pipeline.model.hooks import MLP_IN, HookPoint, resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.model.layers import ATTN_OUT, RESID_POST, Z
from workers.pipeline.model.site_checks import matrix_of

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

    `gain` and `centred` describe the final norm, `derivative` a head that is more than a norm, and
    `scale` is the model's own factor of all logits. `unmasked` are the ids of the unmasked rows of
    `unembedding`.
    """

    gain: Float[Tensor, " d_model"]
    centred: bool
    unembedding: Float[Tensor, "vocabulary d_model"]
    unmasked: Int64[Tensor, " unmasked"]
    derivative: Float[Tensor, "d_read d_model"] | None = None
    scale: float = 1.0

    def logits(
        self, directions: Float[Tensor, "features d_model"]
    ) -> Float[Tensor, "features unmasked"]:
        """Return the effect of directions of the residual stream on each unmasked logit."""
        if self.centred:
            directions = directions - directions.mean(1, keepdim=True)
        directions = directions.to(self.gain) * self.gain
        if self.derivative is not None:
            directions = directions @ self.derivative.T
        effects = directions @ self.unembedding.T
        if self.scale != 1:
            effects = effects * self.scale
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
    """
    head = find_head(model)
    unembedding = model.get_output_embeddings().weight.detach().float()
    unmasked = (~masked.to(unembedding.device)).nonzero()[:, 0]
    if not len(unmasked):
        raise InvalidInput(
            "model",
            "Every token of the vocabulary is special, unused or a byte fallback: no logits to "
            "show.",
        )
    return Readout(head.gain, head.centred, unembedding, unmasked, head.derivative, head.scale)


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
    width = resolve_hook(model, f"blocks.{point.layer}.{RESID_POST}").d_in
    if hook.endswith(Z) and decoder.shape[1] == point.d_in:
        return _through_projection(model, decoder, point)
    if decoder.shape[1] != width:
        raise InvalidInput(
            "sae",
            f"The SAE writes {decoder.shape[1]} dimensions; the model's residual stream has "
            f"{width}.",
        )
    return decoder.float()


def _through_projection(
    model: PreTrainedModel, decoder: Float[Tensor, "features d_in"], point: HookPoint
) -> Float[Tensor, "features d_model"]:
    """Directions of z as attention's output projection, and the norm after it, write them to the
    residual stream, without that norm's divisor.
    """
    directions = decoder.float() @ matrix_of(point.module).T * point.factor
    norm = resolve_hook(model, f"blocks.{point.layer}.{ATTN_OUT}").module
    if not is_norm(norm):
        return directions
    gain, centred = measure_norm(norm, directions.shape[1], directions.device)
    if centred:
        directions = directions - directions.mean(1, keepdim=True)
    return directions * gain


def masked_tokens(language: Language) -> Bool[Tensor, " vocabulary"]:
    """Return which rows of the unembedding are special, unused (placeholders, rows without a token)
    or byte fallbacks.
    """
    return _reasons(language) != UNMASKED


def readout_record(language: Language, hook: str) -> ReadoutRecord:
    """Describe how the logits of directions written at `hook` are computed, for display."""
    head = find_head(language.model)
    through = ["attention's output projection"] if hook.endswith(Z) else []
    if head.derivative is not None:
        through.append(f"the derivative of the model's head ({', then '.join(head.modules)})")
    counts = torch.bincount(_reasons(language), minlength=4).tolist()
    return ReadoutRecord(
        norm=" and ".join(head.modules) if head.derivative is None else "",
        centred=head.centred,
        gain_low=head.gain.min().item(),
        gain_high=head.gain.max().item(),
        through=" and ".join(through),
        rows=len(language.model.get_output_embeddings().weight),
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
