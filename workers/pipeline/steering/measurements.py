"""Compare steered texts with what the unsteered model would have written.

The unsteered model reads each steered text with a KV cache of its own, several tokens in one pass.
Its own text needs no second pass. With P the steered model's next-token distribution after a prefix
(temperature 1, no penalty) and Q the unsteered model's after the same prefix, in nats:

    surprise    -log Q(token)
    kl          KL(P || Q) = sum P (log P - log Q)
    mass        sum of P over the tokens that a feature promotes
    activations the feature's activation while the unsteered model reads the text: how much of the
                feature the text itself holds
"""

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, LinearAttentionCacheLayerMixin

from features.records import InvalidInput
from workers.pipeline.model.counted_tokens import ordinary_tokens
from workers.pipeline.model.hooks import observe_hook, resolve_hook
from workers.pipeline.model.language import Language
from workers.pipeline.steering.interventions import encode_features
from workers.pipeline.steering.text_activations import Lens

TOKENS_PER_PASS = 32
OWN_CACHES = ("xlstm", "minimax", "recurrent_gemma", "rwkv")
"""Families with a state of another kind than `transformers.DynamicCache`."""
LOGITS_AT_ONCE = 1 << 24
"""Logits stored until they are measured: 64 MB of float32, for any number of texts."""


class Measurements(NamedTuple):
    """Numbers about the tokens from the `start`-th generated one on, a list for each text.

    `activations` and `mass` have one such entry per measured feature. If `start` is negative, only
    `activations` is set, and it is about the prompt.
    """

    start: int
    kl: list[list[float]]
    surprise: list[list[float]]
    activations: list[list[list[float]]]
    mass: list[list[list[float]]]


class MeasuredFeature(NamedTuple):
    """A feature whose activation is reported, and the ids of the tokens that it promotes."""

    lens: Lens
    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    promoted_tokens: Sequence[int] = ()


class UnsteeredReader:
    """Runs the unsteered model on the steered texts, `TOKENS_PER_PASS` tokens at a time.

    The first of `texts` is the unsteered text: its activations are recorded while it is generated.
    """

    def __init__(self, language: Language, features: Sequence[MeasuredFeature], texts: int) -> None:
        self.language, self.features, self.steered = language, features, texts - 1
        self._points = [
            resolve_hook(language.model, hook)
            for hook in {feature.lens.hook for feature in features}
        ]
        self._recorded: dict[str, Tensor] = {}
        self._unsteered: dict[str, list[Tensor]] = {point.name: [] for point in self._points}
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self._start = 0
        self._tokens_per_pass = TOKENS_PER_PASS
        self._cache: Any = None
        self._next_logprobs = torch.zeros(0)

    def recording(self) -> ExitStack:
        """Record the activations at the hooks of the measured features."""
        stack = ExitStack()
        for point in self._points:
            record = partial(self._recorded.__setitem__, point.name)
            stack.enter_context(observe_hook(point, record))
        return stack

    def begin(
        self, cache: Any, logits: Float[Tensor, "1 vocabulary"], prompt: Sequence[int]
    ) -> Measurements:
        """Start from the prompt's cache and last logits; return the activations on the prompt's
        token ids, 0 on those that do not count.

        Row 0 of the recorded pass is the unsteered one.
        """
        self._cache = copy.deepcopy(cache)
        select_rows(self._cache, torch.zeros(self.steered, dtype=torch.int64, device=logits.device))
        self._next_logprobs = logits.float().log_softmax(-1).expand(self.steered, -1)
        fitting = LOGITS_AT_ONCE // ((self.steered + 1) * logits.shape[1])
        several = 1 if has_state(cache) else TOKENS_PER_PASS
        self._tokens_per_pass = max(1, min(several, fitting))
        activations = [
            self._activations(feature, self._recorded[feature.lens.hook][:1])
            for feature in self.features
        ]
        ids, special = torch.tensor([list(prompt)]), self.language.special_ids
        for feature, (row,) in zip(self.features, activations, strict=True):
            ordinary = ordinary_tokens(ids, special, feature.lens.rule.first_positions)[0]
            row[:] = [
                value if on else 0.0 for value, on in zip(row, ordinary.tolist(), strict=True)
            ]
        return Measurements(-1, [], [], activations, [])

    def add(
        self,
        tokens: Int64[Tensor, " texts"],
        logprobs: Float[Tensor, "texts vocabulary"],
        counted: Tensor,
    ) -> Iterator[Measurements]:
        """Add the next token of each text, after the pass over it was recorded.

        `logprobs` is the distribution that the token was drawn from; `counted` [texts] is false for
        texts that have ended. Yields measurements once enough tokens are pending.
        """
        self._pending.append((tokens, logprobs, counted))
        for hook, recorded in self._unsteered.items():
            recorded.append(self._recorded[hook][:1])
        if len(self._pending) >= self._tokens_per_pass:
            yield from self.measure()

    def measure(self) -> Iterator[Measurements]:
        """Run the unsteered model on the pending tokens, if there are any."""
        if not self._pending:
            return
        ids, steered, counted = (
            torch.stack(parts, 1) for parts in zip(*self._pending, strict=True)
        )
        self._pending = []
        with self.recording():
            logits, self._cache = forward_with_cache(self.language, ids[1:], self._cache)
        unsteered = self._unsteered_logprobs(steered, logits)
        surprise = -unsteered.gather(-1, ids[..., None])[..., 0]
        kl = (steered.exp() * (steered - unsteered)).sum(-1).clamp(min=0)
        lengths = counted.sum(1).tolist()
        start, self._start = self._start, self._start + ids.shape[1]
        yield Measurements(
            start,
            _truncated(kl.tolist(), lengths),
            _truncated(surprise.tolist(), lengths),
            [_truncated(rows, lengths) for rows in self._all_activations()],
            [_truncated(_mass(steered, feature), lengths) for feature in self.features],
        )

    def _unsteered_logprobs(
        self,
        steered: Float[Tensor, "texts pos vocabulary"],
        logits: Float[Tensor, "texts-1 pos vocabulary"],
    ) -> Float[Tensor, "texts pos vocabulary"]:
        """Return log Q of each token's prefix. `logits` come after the tokens, so they are shifted
        by one; the last are stored for the next pass.
        """
        after = logits.float().log_softmax(-1)
        before = torch.cat([self._next_logprobs[:, None], after[:, :-1]], 1)
        self._next_logprobs = after[:, -1]
        return torch.cat([steered[:1], before])

    def _all_activations(self) -> list[list[list[float]]]:
        """Return the activations of each feature on the tokens of this pass, text by text."""
        inputs = {
            hook: torch.cat([torch.cat(recorded, 1), self._recorded[hook]])
            for hook, recorded in self._unsteered.items()
        }
        self._unsteered = {hook: [] for hook in self._unsteered}
        return [self._activations(feature, inputs[feature.lens.hook]) for feature in self.features]

    def _activations(
        self, feature: MeasuredFeature, x: Float[Tensor, "texts pos d_in"]
    ) -> list[list[float]]:
        codes, _ = encode_features(feature.lens, [feature.index], x.flatten(0, 1), self.language)
        return codes.view(x.shape[:2]).tolist()


def forward_with_cache(
    language: Language, ids: Int64[Tensor, "rows pos"], cache: Any, last_only: bool = False
) -> tuple[Float[Tensor, "rows pos vocabulary"], Any]:
    """Run the model on the next tokens; return their logits and the extended cache.

    With `last_only`, models that support it compute the logits of the last position only.
    """
    parameters = inspect.signature(type(language.model).forward).parameters
    extra = {"logits_to_keep": 1} if last_only and "logits_to_keep" in parameters else {}
    name = _cache_name(language) or "past_key_values"
    output = language.model(input_ids=ids, **{name: cache}, use_cache=True, **extra)
    return output.logits, output[name]


def new_cache(language: Language) -> Cache:
    """Return an empty cache for the model's texts.

    Raises `InvalidInput("features")` for a model that keeps its state elsewhere.
    """
    if _cache_name(language) is None or language.model.config.model_type in OWN_CACHES:
        family = type(language.model).__name__
        raise InvalidInput(
            "features",
            f"{family} keeps the state of a text inside itself, so steered and unsteered texts "
            "cannot be generated side by side: this model cannot be steered here.",
        )
    return DynamicCache(config=language.model.config)


def select_rows(cache: Cache, indices: Int64[Tensor, " rows"]) -> None:
    """Make the rows of a cache those at `indices`, which may repeat. Unlike `batch_select_indices`
    it works for layers with a recurrent state too.
    """
    cache.reorder_cache(cast(torch.LongTensor, indices))


def has_state(cache: Cache) -> bool:
    """Whether a layer has a recurrent state. Models with one read a single token at a time after
    the prompt: several at once would begin from an empty state.
    """
    return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in cache.layers)


def _cache_name(language: Language) -> str | None:
    """The argument in which the model takes its cache."""
    parameters = inspect.signature(type(language.model).forward).parameters
    return next((name for name in ("past_key_values", "cache_params") if name in parameters), None)


def _mass(
    logprobs: Float[Tensor, "texts pos vocabulary"], feature: MeasuredFeature
) -> list[list[float]]:
    return logprobs[..., list(feature.promoted_tokens)].exp().sum(-1).tolist()


def _truncated(rows: list[list[float]], lengths: list[int]) -> list[list[float]]:
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]
