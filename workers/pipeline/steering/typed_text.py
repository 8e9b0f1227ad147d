"""A text that somebody typed, through a model and some of its SAEs, in one forward pass (two where
they differ about BOS).

The text is tokenized as it is; BOS comes first for SAEs that were trained so. Special tokens carry
no activation, as in dashboards. What the model computed for the last texts is kept, so asking about
another feature of the same text, or another SAE, costs only its encoder.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

from workers.pipeline.dashboards.encode import ALONE, tile, tiled
from workers.pipeline.errors import BadInput
from workers.pipeline.model.activations import harvest
from workers.pipeline.model.language import Language
from workers.pipeline.sae.io import centred

TEXTS_KEPT = 16
PER_TOKEN = 64
"""Features kept of each token, the strongest; TopK SAEs have fewer."""


class Lens(NamedTuple):
    """An SAE with the hook that it reads, and whether it wants BOS."""

    sae: SAE[Any]
    hook: str
    prepend_bos: bool


class FiredToken(NamedTuple):
    """The features that fire on one token, strongest first."""

    features: list[int]
    values: list[float]


Kept = OrderedDict[tuple[str, tuple[int, ...]], dict[str, Tensor]]


class Reader:
    """A model with the activations of the last texts it read, at the hooks that were asked for."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._kept: Kept = OrderedDict()

    def token_ids(self, text: str, prepend_bos: bool) -> list[int]:
        """The ids that are read. `BadInput("text")` where there are none, or more than the model
        takes.
        """
        tokenizer = self.language.tokenizer
        ids = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if not ids:
            raise BadInput("text", "Type some text: this has no token.")
        head = (
            [tokenizer.bos_token_id] if prepend_bos and tokenizer.bos_token_id is not None else []
        )
        if len(head) + len(ids) > self.language.context_size:
            most = self.language.context_size - len(head)
            raise BadInput(
                "text",
                f"This text has {len(ids):,} tokens; the model reads at most {most:,} at once.",
            )
        return head + ids

    def feature(self, lens: Lens, index: int, text: str) -> tuple[list[int], list[float]]:
        """Token ids of the text, and the activation of one feature on each. `BadInput("index")`
        where there is none.
        """
        if not 0 <= index < lens.sae.cfg.d_sae:
            raise BadInput("index", f"This SAE has features 0 to {lens.sae.cfg.d_sae - 1:,}.")
        ids = self.token_ids(text, lens.prepend_bos)
        alone = type(lens.sae) in ALONE
        part = tile(lens.sae, index, index + 1) if alone else lens.sae
        return ids, self._encode(part, lens, ids, [lens.hook])[:, 0 if alone else index].tolist()

    def tokens(
        self, lenses: Mapping[str, Lens], text: str
    ) -> dict[str, tuple[list[int], list[FiredToken]]]:
        """By the name of each SAE, the ids that it reads, and what fires on each of them."""
        return {
            name: (
                ids := self.token_ids(text, lens.prepend_bos),
                self._fired(lens, ids, lenses.values()),
            )
            for name, lens in lenses.items()
        }

    def context(
        self, lenses: Mapping[str, Lens], ids: list[int]
    ) -> dict[str, tuple[list[int], list[FiredToken]]]:
        """The same of a stored context, whose ids are read as they are. `BadInput("context")` where
        they are too many.
        """
        if not 0 < len(ids) <= self.language.context_size:
            most = self.language.context_size
            raise BadInput(
                "context",
                f"This context has {len(ids):,} tokens; the model reads 1 to {most:,} at once.",
            )
        return {
            name: (ids, self._fired(lens, ids, lenses.values())) for name, lens in lenses.items()
        }

    def _fired(self, lens: Lens, ids: list[int], lenses: Iterable[Lens]) -> list[FiredToken]:
        """What fires on each of the ids; the model's one pass serves all `lenses` that want the
        same beginning.
        """
        hooks = [other.hook for other in lenses if other.prepend_bos == lens.prepend_bos]
        return _strongest(
            (first, self._encode(part, lens, ids, hooks)) for first, part in tiled(lens.sae)
        )

    @torch.no_grad()
    def _encode(
        self, part: SAE[Any], lens: Lens, ids: list[int], hooks: list[str]
    ) -> Float[Tensor, "pos features"]:
        activations = self._activations(ids, hooks)[lens.hook].to(
            part.W_dec.device, part.W_dec.dtype
        )
        if centred(lens.sae, self.language.model, lens.hook):
            activations = activations - activations.mean(-1, keepdim=True)
        special = torch.isin(torch.tensor(ids), self.language.special_ids.cpu()).to(
            activations.device
        )
        codes = torch.zeros(len(ids), part.cfg.d_sae, device=activations.device)
        if not special.all():  # left out before encoding, as in dashboards
            codes[~special] = part.encode(activations[~special]).float().clamp(min=0)
        return codes

    def _activations(
        self, ids: list[int], hooks: list[str]
    ) -> dict[str, Float[Tensor, "pos d_in"]]:
        key = (self.language.revision, tuple(ids))
        known = self._kept.get(key, {})
        if not set(hooks) <= set(known):
            wanted = sorted({*hooks, *known})
            read = next(harvest(self.language, wanted, [torch.tensor([ids])]))
            known = {hook: values[0] for hook, values in read.items()}
        self._kept[key] = known
        self._kept.move_to_end(key)
        while len(self._kept) > TEXTS_KEPT:
            self._kept.popitem(last=False)
        return known


def _strongest(parts: Iterable[tuple[int, Float[Tensor, "pos features"]]]) -> list[FiredToken]:
    """The strongest features of each token, of all the parts that an SAE was encoded in."""
    kept_values, kept_features = [], []
    for first, codes in parts:
        values, features = codes.topk(min(PER_TOKEN, codes.shape[1]), dim=1)
        kept_values.append(values)
        kept_features.append(features + first)
    all_values = torch.cat(kept_values, 1)
    values, place = all_values.topk(min(PER_TOKEN, all_values.shape[1]), dim=1)
    features = torch.cat(kept_features, 1).gather(1, place)
    rows = zip(features.tolist(), values.tolist(), (values > 0).sum(1).tolist(), strict=True)
    return [FiredToken(feature[:count], value[:count]) for feature, value, count in rows]
