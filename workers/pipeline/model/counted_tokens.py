"""Which tokens count: the one definition that training, evaluation, dashboards, labels, typed texts
and steering share.

    ordinary    no special token (by id), no padding, and not among the first ordinary tokens of its
                context that `CountingRule.first_positions` leaves out
    outlier     an activation at the hook whose norm exceeds `norm_ratio` times `median_norm`:
                attention sinks, at the start of a context or in its middle
    counted     ordinary and no outlier

The median is of the norms of the ordinary tokens in the first contexts of a corpus. It is measured
once for each SAE and stored with it. So whether a token counts depends on its own activation only:
a typed text of three tokens, a batch of one context and every shard give the same answer as the
whole corpus.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from features.records import CountingRule, LeftOut, SequenceRecord
from workers.pipeline.data.tokens import take_tokens, token_batches
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.language import Language

REFERENCE_TOKENS = 4096
"""Number of tokens whose median norm is the reference: its standard error is below 2%."""
CONTEXTS_AT_ONCE = 32


def ordinary_tokens(
    ids: Int64[Tensor, "batch pos"], special: Int64[Tensor, " special"], first_positions: int = 0
) -> Bool[Tensor, "batch pos"]:
    """Return a mask of the tokens that are neither special nor among the first `first_positions`
    that are not.
    """
    ordinary = ~torch.isin(ids, special.to(ids.device))
    return ordinary & (ordinary.cumsum(-1) > first_positions) if first_positions else ordinary


def outlier_tokens(
    activations: Float[Tensor, "*tokens d_in"], rule: CountingRule
) -> Bool[Tensor, "*tokens"]:
    """Return a mask of the tokens whose activation at the hook has too large a norm to count.

    A norm that is not finite is no outlier but an error, which whoever encodes it reports.
    """
    norms = activations.float().norm(dim=-1)
    return (norms > rule.norm_limit) & norms.isfinite()


def counted_tokens(
    ids: Int64[Tensor, "batch pos"],
    activations: Float[Tensor, "batch pos d_in"],
    special: Int64[Tensor, " special"],
    rule: CountingRule,
) -> Bool[Tensor, "batch pos"]:
    """Return a mask of the tokens that count. `activations` are those at the hook of the SAE."""
    ordinary = ordinary_tokens(ids, special, rule.first_positions).to(activations.device)
    return ordinary & ~outlier_tokens(activations, rule)


def count_left_out(
    ids: Int64[Tensor, "batch pos"],
    counted: Bool[Tensor, "batch pos"],
    special: Int64[Tensor, " special"],
    rule: CountingRule,
    real: Bool[Tensor, "batch pos"],
) -> LeftOut:
    """Count the tokens that are not `counted`, by reason; `real` is false for padding."""
    all_but_special = real & ordinary_tokens(ids, special)
    ordinary = real & ordinary_tokens(ids, special, rule.first_positions)
    return LeftOut(
        special=int((real & ~all_but_special).sum()),
        first=int((all_but_special & ~ordinary).sum()),
        outliers=int((ordinary & ~counted).sum()),
    )


def measure_median_norms(
    language: Language,
    hooks: Sequence[str],
    sequences: Iterable[SequenceRecord],
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Return the median norm of the activations at each of `hooks`, over the tokens that are not
    special of the first contexts with `REFERENCE_TOKENS` of them.

    The median is 0 if there are no such tokens. The result is empty if `should_stop` returned true.
    """
    norms: dict[str, list[Tensor]] = {hook: [] for hook in dict.fromkeys(hooks)}
    special = language.special_ids
    contexts = take_tokens(sequences, REFERENCE_TOKENS, special.tolist())
    for ids in token_batches(contexts, CONTEXTS_AT_ONCE, special):
        if should_stop():
            return {}
        (activations,) = activations_at(language, list(norms), [ids])
        ordinary = ordinary_tokens(ids, special)
        for hook, values in norms.items():
            values.append(activations[hook].norm(dim=-1).cpu()[ordinary])
    return {hook: _median(torch.cat(values or [torch.zeros(0)])) for hook, values in norms.items()}


def _median(values: Float[Tensor, " tokens"]) -> float:
    return values.median().item() if len(values) else 0.0
