"""What a feature's decoder direction does to the next-token logits, through the model's own final
norm and unembedding.

For a feature with decoder row d (as the SAE was loaded, every scale folded in), the effect is

    logits = U (g * c(d))

where U is the unembedding, g the gain of the final norm, and c subtracts the mean over the residual
stream if that norm does (LayerNorm) and nothing if not (RMSNorm). It is the change of the logits
per unit of activation while the norm's divisor, the size of a real residual, is left out: that is a
positive factor common to all tokens of a position, so ranks and signs stand and the scale is
comparable between features of one SAE. Biases and a soft cap on the logits are left out too.

A direction at `attn.hook_z` reaches the residual stream through attention's output projection.
Vocabulary rows that are special, unused or single-byte fallbacks are masked by default: they are
rarely trained and would fill the tables.
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
"""Logits computed at once: 32 MB of float32, however many features there are."""

PLACEHOLDER = re.compile(
    r"[<\[|]+(unused|reserved|extra_id|extra_token|pad|dummy|special_token)[\w|]*[>\]|]+",
    re.IGNORECASE,
)
FALLBACK = re.compile(r"<0x[0-9A-Fa-f]{2}>")
KEPT, SPECIAL, UNUSED, BYTE = range(4)


class LogitTable(NamedTuple):
    """Logit effects of a block of features: the ends of the ranking, and a histogram of the whole
    unmasked vocabulary.

    `top` falls and `bottom` rises; `histogram` has `BINS` equal bins from `low` to `high`, the last
    one closed.
    """

    top_ids: Int64[Tensor, "features k"]
    top: Float[Tensor, "features k"]
    bottom_ids: Int64[Tensor, "features k"]
    bottom: Float[Tensor, "features k"]
    histogram: Int64[Tensor, "features bins"]
    low: Float[Tensor, " features"]
    high: Float[Tensor, " features"]


class Readout(NamedTuple):
    """A model's way from the residual stream to its vocabulary, as defined at the top of this file.

    `gain` and `centred` say what the final norm does to a direction; `kept` are the ids of the
    unmasked rows of `unembedding`.
    """

    gain: Float[Tensor, " d_model"]
    centred: bool
    unembedding: Float[Tensor, "vocabulary d_model"]
    kept: Int64[Tensor, " kept"]

    def logits(
        self, directions: Float[Tensor, "features d_model"]
    ) -> Float[Tensor, "features kept"]:
        """The logit effect of directions of the residual stream on each unmasked token."""
        if self.centred:
            directions = directions - directions.mean(1, keepdim=True)
        effects = (directions.to(self.gain) * self.gain) @ self.unembedding.T
        return effects if len(self.kept) == effects.shape[1] else effects[:, self.kept]

    @torch.no_grad()
    def table(self, directions: Float[Tensor, "features d_model"], count: int) -> LogitTable:
        """The `count` highest and lowest effects (fewer in a smaller vocabulary) and a histogram of
        all, block by block.
        """
        count = min(count, len(self.kept))
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
        ends = (self.kept[top.indices], top.values, self.kept[bottom.indices], bottom.values)
        return LogitTable(*ends, histogram, low[:, 0], high[:, 0])


@torch.no_grad()
def readout(model: PreTrainedModel, masked: Bool[Tensor, " vocabulary"]) -> Readout:
    """Find a model's readout. What its final norm does is measured on two vectors, as families
    store gains differently.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise InvalidInput(
            "model", f"{type(model).__name__} has no unembedding, so its features have no logits."
        )
    unembedding = head.weight.detach().float()
    kept = (~masked.to(unembedding.device)).nonzero()[:, 0]
    if not len(kept):
        raise InvalidInput(
            "model",
            "Every token of the vocabulary is special, unused or a byte fallback: no logits to "
            "show.",
        )
    width = unembedding.shape[1]
    norm = _final_norm(model, width)
    if norm is None:
        return Readout(torch.ones(width, device=unembedding.device), False, unembedding, kept)
    norm = copy.deepcopy(norm).float()
    # entries of +-1000 have mean 0 and a root mean square against which epsilon is nothing
    probe = torch.full((width,), 1000.0, device=unembedding.device)
    probe[width // 2 :] *= -1
    gain = (norm(probe) - norm(-probe)) / 2 * probe.sign()  # the half difference takes a bias away
    centred = torch.allclose(norm(probe + 500), norm(probe), rtol=1e-3, atol=1e-6)
    return Readout(gain, centred, unembedding, kept)


def to_residual(
    model: PreTrainedModel, decoder: Float[Tensor, "features d_in"], hook: str
) -> Float[Tensor, "features d_model"]:
    """Decoder rows as directions of the residual stream; `InvalidInput("sae")` where their width
    fits nothing there.
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
    """Which rows of the unembedding are special, unused (placeholders, rows without a token) or
    byte fallbacks.
    """
    return _reasons(language) != KEPT


def readout_record(language: Language, hook: str) -> ReadoutRecord:
    """How the logits of directions written at `hook` are made, for the pages that show them."""
    lens = readout(language.model, masked_tokens(language))
    norm = _final_norm(language.model, lens.unembedding.shape[1])
    counts = torch.bincount(_reasons(language), minlength=4).tolist()
    return ReadoutRecord(
        norm=type(norm).__name__ if norm is not None else "",
        centred=lens.centred,
        gain_low=lens.gain.min().item(),
        gain_high=lens.gain.max().item(),
        through="attention's output projection" if hook.endswith("attn.hook_z") else "",
        rows=len(lens.unembedding),
        special=counts[SPECIAL],
        unused=counts[UNUSED],
        fallback=counts[BYTE],
    )


def _reasons(language: Language) -> Int64[Tensor, " vocabulary"]:
    """For each row of the unembedding why it is masked: `KEPT`, `SPECIAL`, `UNUSED` or `BYTE`;
    special goes before others.
    """
    rows = language.model.get_output_embeddings().weight.shape[0]
    reasons = torch.full((rows,), UNUSED)
    for text, token_id in language.tokenizer.get_vocab().items():
        if token_id < rows:
            reasons[token_id] = (
                UNUSED
                if PLACEHOLDER.fullmatch(text)
                else BYTE
                if FALLBACK.fullmatch(text)
                else KEPT
            )
    reasons[language.special_ids.cpu()] = SPECIAL
    return reasons


def _final_norm(model: PreTrainedModel, width: int) -> nn.Module | None:
    """The last norm of the model's width that stands outside the list of blocks."""
    found = None
    for name, module in model.named_modules():
        in_a_list = any(part.isdigit() for part in name.split("."))
        weight = getattr(module, "weight", None)
        if (
            not in_a_list
            and "Norm" in type(module).__name__
            and weight is not None
            and weight.shape == (width,)
        ):
            found = module
    return found
