"""Encode a text with the SAEs of a model: one forward pass for all SAEs that agree about BOS.

The text is tokenized as it is; BOS comes first for SAEs that were trained with it. Tokens that do
not count (`model.counted_tokens`) have no activations, as in dashboards. The model's activations on
the last texts are cached, so that another feature of the same text, or another SAE, costs only its
encoder.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from sae_lens import SAE
from torch import Tensor

from features.records import COUNT_ORDINARY, CountingRule, InvalidInput
from workers.pipeline.dashboards.encoding import PER_FEATURE_ENCODERS, tile, tiles
from workers.pipeline.model.activations import activations_at
from workers.pipeline.model.counted_tokens import counted_tokens, ordinary_tokens
from workers.pipeline.model.language import Language
from workers.pipeline.sae.reconstruct import uses_centred_activations

MAX_CACHED_TEXTS = 16
MAX_FEATURES_PER_TOKEN = 64
"""The strongest features of each token that are returned; TopK SAEs have fewer."""


class Lens(NamedTuple):
    """An SAE, the hook whose activations it encodes, whether its texts begin with BOS, and which
    tokens count.
    """

    sae: SAE[Any]
    hook: str
    prepend_bos: bool
    rule: CountingRule = COUNT_ORDINARY


class TokenFeatures(NamedTuple):
    """The features that fire on one token, by falling absolute value, and their activations."""

    features: list[int]
    values: list[float]


TextFeatures = tuple[list[int], list[TokenFeatures]]
"""The token ids of a text, and the features of each token."""


class TextActivations:
    """Activations of features on texts, with a cache of the model's activations on the last texts.

    Texts are cached by token ids, each with the hooks that were asked for.
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self._cache: OrderedDict[tuple[str, tuple[int, ...]], dict[str, Tensor]] = OrderedDict()

    def token_ids(self, text: str, prepend_bos: bool) -> list[int]:
        """Return the token ids of a text.

        Raises `InvalidInput("text")` if there are none, or more than the model's context holds.
        """
        tokenizer = self.language.tokenizer
        ids = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if not ids:
            raise InvalidInput("text", "Type some text: this has no token.")
        has_bos = prepend_bos and tokenizer.bos_token_id is not None
        bos = [tokenizer.bos_token_id] if has_bos else []
        most = self.language.context_size - len(bos)
        if len(ids) > most:
            raise InvalidInput(
                "text",
                f"This text has {len(ids):,} tokens; the model reads at most {most:,} at once.",
            )
        return bos + ids

    def feature_activations(
        self, lens: Lens, index: int, text: str
    ) -> tuple[list[int], list[float]]:
        """Return the token ids of a text, and the activation of one feature on each.

        Raises `InvalidInput("index")` if the SAE has no such feature.
        """
        if not 0 <= index < lens.sae.cfg.d_sae:
            raise InvalidInput("index", f"This SAE has features 0 to {lens.sae.cfg.d_sae - 1:,}.")
        ids = self.token_ids(text, lens.prepend_bos)
        if type(lens.sae) in PER_FEATURE_ENCODERS:
            codes = self._encode(tile(lens.sae, index, index + 1), lens, ids, [lens.hook])
            return ids, codes[:, 0].tolist()
        return ids, self._encode(lens.sae, lens, ids, [lens.hook])[:, index].tolist()

    def features_of_text(self, lenses: Mapping[str, Lens], text: str) -> dict[str, TextFeatures]:
        """Return, by the name of each SAE, the token ids and the strongest features of each."""
        features = {}
        for name, lens in lenses.items():
            ids = self.token_ids(text, lens.prepend_bos)
            features[name] = ids, self._strongest_features(lens, ids, lenses.values())
        return features

    def features_of_context(
        self, lenses: Mapping[str, Lens], ids: list[int]
    ) -> dict[str, TextFeatures]:
        """Return the same for the token ids of a stored context, which are used as they are.

        Raises `InvalidInput("context")` if there are none, or more than the model's context holds.
        """
        if not 0 < len(ids) <= self.language.context_size:
            most = self.language.context_size
            raise InvalidInput(
                "context",
                f"This context has {len(ids):,} tokens; the model reads 1 to {most:,} at once.",
            )
        return {
            name: (ids, self._strongest_features(lens, ids, lenses.values()))
            for name, lens in lenses.items()
        }

    def _strongest_features(
        self, lens: Lens, ids: list[int], lenses: Iterable[Lens]
    ) -> list[TokenFeatures]:
        """Encode with one SAE; the forward pass serves all `lenses` that agree about BOS."""
        hooks = [other.hook for other in lenses if other.prepend_bos == lens.prepend_bos]
        return _strongest(
            (first, self._encode(part, lens, ids, hooks)) for first, part in tiles(lens.sae)
        )

    def left_out(self, lens: Lens, ids: list[int]) -> list[int]:
        """Return the positions in a text that are not special and do not count."""
        counted = self._counted(lens, ids, self._model_activations(ids, [lens.hook])[lens.hook])
        ordinary = ordinary_tokens(torch.tensor([ids]), self.language.special_ids)[0]
        return (ordinary & ~counted.cpu()).nonzero()[:, 0].tolist()

    def _counted(
        self, lens: Lens, ids: list[int], activations: Float[Tensor, "pos d_in"]
    ) -> Bool[Tensor, " pos"]:
        special = self.language.special_ids
        return counted_tokens(torch.tensor([ids]), activations[None], special, lens.rule)[0]

    @torch.no_grad()
    def _encode(
        self, part: SAE[Any], lens: Lens, ids: list[int], hooks: list[str]
    ) -> Float[Tensor, "pos features"]:
        read = self._model_activations(ids, hooks)[lens.hook]
        activations = read.to(part.W_dec.device, part.W_dec.dtype)
        if uses_centred_activations(lens.sae, self.language.model, lens.hook):
            activations = activations - activations.mean(-1, keepdim=True)
        counted = self._counted(lens, ids, read).to(activations.device)
        codes = torch.zeros(len(ids), part.cfg.d_sae, device=activations.device)
        if counted.any():  # the others are left out before encoding, as in dashboards
            codes[counted] = part.encode(activations[counted]).float()
        return codes

    def _model_activations(
        self, ids: list[int], hooks: list[str]
    ) -> dict[str, Float[Tensor, "pos d_in"]]:
        key = (self.language.revision, tuple(ids))
        cached = self._cache.get(key, {})
        if not set(hooks) <= set(cached):
            all_hooks = sorted({*hooks, *cached})
            batch = next(activations_at(self.language, all_hooks, [torch.tensor([ids])]))
            cached = {hook: values[0] for hook, values in batch.items()}
        self._cache[key] = cached
        self._cache.move_to_end(key)
        while len(self._cache) > MAX_CACHED_TEXTS:
            self._cache.popitem(last=False)
        return cached


def _strongest(parts: Iterable[tuple[int, Float[Tensor, "pos features"]]]) -> list[TokenFeatures]:
    """Return the strongest features of each token over all parts of an SAE.

    A part is the index of its first feature, and its activations.
    """
    part_values, part_features = [], []
    for first, codes in parts:
        features = codes.abs().topk(min(MAX_FEATURES_PER_TOKEN, codes.shape[1]), dim=1).indices
        part_values.append(codes.gather(1, features))
        part_features.append(features + first)
    all_values = torch.cat(part_values, 1)
    order = all_values.abs().topk(min(MAX_FEATURES_PER_TOKEN, all_values.shape[1]), dim=1).indices
    values = all_values.gather(1, order)
    features = torch.cat(part_features, 1).gather(1, order)
    rows = zip(features.tolist(), values.tolist(), (values != 0).sum(1).tolist(), strict=True)
    return [TokenFeatures(feature[:count], value[:count]) for feature, value, count in rows]
