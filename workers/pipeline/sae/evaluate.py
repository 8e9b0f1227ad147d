"""Evaluate an SAE on held-out text: how well it reconstructs, how sparsely, and how much worse the
model predicts with the reconstruction in place of the activation.

Three forward passes per batch:

    original    the model as it is
    sae         the activation at the hook replaced by its reconstruction
    zero        the activation at the hook replaced by zero

    ce_*        cross-entropy of the next token, in nats
    kl_*        KL(original || changed) of the distribution of the next token, in nats

Tokens that do not count (`model.counted_tokens`: special tokens, outliers such as attention sinks)
keep their own activation in all passes. Predictions are counted where both the token and the next
token count. `evaluation_sums` defines the other numbers, `weight_quality` those that need no text.

A transcoder is evaluated where it writes: x and zero are the activation there, and y is computed
from the activation that the transcoder reads.
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

from features.records import (
    COUNT_ORDINARY,
    CountingRule,
    Evaluation,
    InvalidInput,
    LogLine,
    Progress,
    SequenceRecord,
)
from workers.pipeline.data.tokens import token_batches
from workers.pipeline.model.counted_tokens import (
    count_left_out,
    ordinary_tokens,
    outlier_tokens,
)
from workers.pipeline.model.hooks import HookPoint, edit_hook, observe_hook, resolve_hook
from workers.pipeline.model.language import Language, check_contexts_fit
from workers.pipeline.sae.evaluation_sums import EvaluationSums, density_histogram
from workers.pipeline.sae.reconstruct import (
    reconstruct,
    require_fit,
    uses_centred_activations,
    written_hook,
)
from workers.pipeline.sae.weight_quality import weight_quality

CONTEXTS_AT_ONCE = 32
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
    rule: CountingRule = COUNT_ORDINARY,
) -> Iterator[Progress | LogLine | Evaluation]:
    """Evaluate `sae` at `hook` on `sequences`, until `tokens` tokens that count by `rule` were
    seen.

    Yields `Progress` in tokens and at the end one `Evaluation`, unless `should_stop()` returns
    true. Raises `InvalidInput` if the SAE does not fit the hook (field `hook` or `sae`) or no token
    of the sequences counts (field `corpus`).
    """
    points = _hook_points(language, sae, hook)
    sums = EvaluationSums(sae, language.device)
    for ids, real in _batches(language, sequences):
        if should_stop():
            yield LogLine(f"Stopped after {sums.tokens:,} tokens.")
            return
        _evaluate_batch(language, sae, points, rule, ids, real, sums)
        yield Progress(min(sums.tokens, tokens), tokens, "tokens", "measuring on held-out text")
        if sums.tokens >= tokens:
            break
    if not sums.tokens:
        raise InvalidInput(
            "corpus", "The held-out part of the corpus has no tokens to evaluate on."
        )
    if sums.tokens < tokens:
        yield LogLine(f"The held-out text ended after {sums.tokens:,} of {tokens:,} tokens.")
    values = sums.values() | weight_quality(sae, should_stop=should_stop)
    if should_stop():
        yield LogLine("Stopped before the last number.")
        return
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    histogram = density_histogram(sums.firings, sums.tokens)
    yield Evaluation(sums.tokens, finite, histogram, rule, sums.left_out)


class _HookPoints(NamedTuple):
    """Where an SAE reads and writes (the same point, except for a transcoder), and whether it was
    trained on activations without their mean over dimensions.
    """

    read: HookPoint
    written: HookPoint
    without_mean: bool


def _hook_points(language: Language, sae: SAE[Any], hook: str) -> _HookPoints:
    read = resolve_hook(language.model, hook)
    written = resolve_hook(language.model, written_hook(sae, hook))
    require_fit(sae, read)
    d_out = sae.W_dec.shape[1]
    if d_out != written.d_in:
        message = f"The SAE writes {d_out} dimensions, but {written.name} has {written.d_in}."
        raise InvalidInput("sae", message)
    return _HookPoints(read, written, uses_centred_activations(sae, language.model, hook))


def _evaluate_batch(
    language: Language,
    sae: SAE[Any],
    points: _HookPoints,
    rule: CountingRule,
    ids: Int64[Tensor, "batch pos"],
    real: Bool[Tensor, "batch pos"],
    sums: EvaluationSums,
) -> None:
    seen: list[Tensor] = []
    with observe_hook(points.read, seen.append):
        logits = language.model(input_ids=ids, use_cache=False).logits
    ordinary = ordinary_tokens(ids, language.special_ids, rule.first_positions)
    counted = ordinary & ~outlier_tokens(seen[-1], rule)
    sums.add_left_out(count_left_out(ids, counted, language.special_ids, rule, real))
    if not ordinary.any():
        return
    replacement = _Replacement(sae, points, counted, ordinary & ~counted)
    predicted = counted[:, :-1] & counted[:, 1:]
    original = _log_probabilities(logits, predicted)
    del logits
    changed = _changed_log_probabilities(
        language,
        ids,
        predicted,
        observe_hook(points.read, replacement.encode),
        edit_hook(points.written, replacement.replace),
    )
    zero = _changed_log_probabilities(
        language, ids, predicted, edit_hook(points.written, replacement.set_to_zero)
    )
    sums.add_reconstructions(replacement.x, replacement.y, replacement.features)
    sums.add_outliers(replacement.outlier_x, replacement.outlier_y)
    targets = ids[:, 1:][predicted][:, None]
    sums.add_predictions(
        len(targets),
        ce_original=-original.gather(1, targets),
        ce_sae=-changed.gather(1, targets),
        ce_zero=-zero.gather(1, targets),
        kl_sae=_kl_divergence(original, changed),
        kl_zero=_kl_divergence(original, zero),
    )


class _Replacement:
    """Hook callbacks that replace activations by their reconstruction at the `counted` positions.

    After a forward pass, `x` and `y` [tokens, d_out] are the activations and reconstructions at
    these positions, `features` [tokens, d_sae] the activations of the features; `outlier_x` and
    `outlier_y` are those at the `outliers`, which keep their activation.
    """

    x: Tensor
    y: Tensor
    features: Tensor
    outlier_x: Tensor
    outlier_y: Tensor

    def __init__(
        self,
        sae: SAE[Any],
        points: _HookPoints,
        counted: Bool[Tensor, "batch pos"],
        outliers: Bool[Tensor, "batch pos"],
    ) -> None:
        self.sae, self.points, self.counted, self.outliers = sae, points, counted, outliers
        self.encoded = False

    def encode(self, activation: Float[Tensor, "batch pos d_in"]) -> None:
        x = activation[self.counted].float()
        self.features, self.y = reconstruct(self.sae, x, self.points.without_mean)
        outliers = activation[self.outliers].float()
        _, self.outlier_y = reconstruct(self.sae, outliers, self.points.without_mean)
        self.encoded = True

    def replace(self, activation: Float[Tensor, "batch pos d_out"]) -> Tensor:
        if not self.encoded:
            raise InvalidInput(
                "sae",
                f"The SAE writes to {self.points.written.name}, which comes before "
                f"{self.points.read.name}, where it reads: one of the two is wrong.",
            )
        self.x = activation[self.counted].float()
        self.outlier_x = activation[self.outliers].float()
        return self._with_values(activation, self.y)

    def set_to_zero(self, activation: Float[Tensor, "batch pos d_out"]) -> Tensor:
        return self._with_values(activation, torch.zeros_like(activation[self.counted]))

    def _with_values(self, activation: Tensor, values: Tensor) -> Tensor:
        edited = activation.clone()
        edited[self.counted] = values.to(activation.dtype)
        return edited


def _kl_divergence(original: Tensor, changed: Tensor) -> Float[Tensor, " predictions"]:
    return torch.nn.functional.kl_div(changed, original, reduction="none", log_target=True).sum(-1)


def _changed_log_probabilities(
    language: Language,
    ids: Int64[Tensor, "batch pos"],
    predicted: Bool[Tensor, "batch before"],
    *hooks: AbstractContextManager[None],
) -> Float[Tensor, "predictions vocabulary"]:
    with ExitStack() as stack:
        for hook in hooks:
            stack.enter_context(hook)
        logits = language.model(input_ids=ids, use_cache=False).logits
    return _log_probabilities(logits, predicted)


def _log_probabilities(
    logits: Float[Tensor, "batch pos vocabulary"], predicted: Bool[Tensor, "batch before"]
) -> Float[Tensor, "predictions vocabulary"]:
    return logits[:, :-1][predicted].float().log_softmax(dim=-1)


def _batches(
    language: Language, sequences: Iterable[SequenceRecord]
) -> Iterator[tuple[Int64[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]]:
    """Batches of at most `CONTEXTS_AT_ONCE` contexts and `LOGITS_AT_ONCE` logits, on the device,
    with a mask that is false for padding.
    """
    vocabulary = int(language.model.config.get_text_config().vocab_size)
    iterator = iter(sequences)
    while group := list(islice(iterator, CONTEXTS_AT_ONCE)):
        longest = max(len(sequence.token_ids) for sequence in group)
        contexts = LOGITS_AT_ONCE // (vocabulary * longest)
        size = max(1, min(CONTEXTS_AT_ONCE, contexts))
        lengths = torch.tensor([len(sequence.token_ids) for sequence in group])
        batches = token_batches(group, size, language.special_ids)
        for ids, sizes in zip(batches, lengths.split(size), strict=True):
            check_contexts_fit(language, ids)
            real = torch.arange(ids.shape[1]) < sizes[:, None]
            yield ids.to(language.device), real.to(language.device)
