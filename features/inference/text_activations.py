"""Features on a text that somebody typed: asked of a warm model, and made readable. Nothing is
written on the way.

`InvalidInput` and `NoAnswer` pass through everything here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from features.inference import requests as inference_requests
from features.models import Feature, LanguageModel, Sae
from features.records import ControlledValue, InvalidInput, TextEffectRecord
from features.token_spans import Span, Vocabulary, in_sentence, spans
from features.vocabulary import vocabulary_of

MOST_CHARACTERS = 20_000
MOST_SAES = 12


class FeatureReading(NamedTuple):
    """One feature on a text: the heatmap against the feature's own maximum, and the activation of
    each token.
    """

    token_ids: list[int]
    values: list[float]
    tokens: list[Span]
    highest: float


class Fired(NamedTuple):
    """A feature that fires on a token."""

    index: int  # type: ignore[assignment]  # tuple has a method of that name, unused here
    value: float


class TextReading(NamedTuple):
    """A text through one SAE: its boxes as they read, and for each token id what fires on it,
    strongest first.
    """

    sae: Sae
    token_ids: list[int]
    tokens: list[Span]
    fired: list[list[Fired]]


class RoleHere(NamedTuple):
    """What one way of changing a feature does in a text: KL at each place as a heatmap, its
    numbers, and what rises most.
    """

    places: list[int]
    kl_at: list[float]
    tokens: list[Span]
    highest: float
    kl: ControlledValue
    ce: ControlledValue
    logit: ControlledValue
    promoted: list[str]


class EffectHere(NamedTuple):
    """Both roles of a feature in a text; None where it has no place for one: where the feature
    fires nowhere, or everywhere.
    """

    token_ids: list[int]
    reads: RoleHere | None
    writes: RoleHere | None


def effect_in(feature: Feature, text: str) -> EffectHere:
    """What changing a live feature of an SAE does in `text`: ablated where it fires, its maximum
    added where it does not.
    """
    sae = feature.sae
    asked = {
        "kind": "effect",
        "sae": sae.slug,
        "index": feature.index,
        "text": _readable(text),
        "maximum": feature.max_activation,
        "tokens": feature.top_tokens,
        **_about(sae.model, [sae]),
    }
    found = inference_requests.request(asked)
    ids = found["token_ids"]
    roles = {
        name: TextEffectRecord.from_json(found[name]) if found[name] else None
        for name in ("reads", "writes")
    }
    promoted = [token for role in roles.values() if role for token in role.promoted]
    vocabulary = vocabulary_of(sae.model_id, [*ids, *promoted])
    return EffectHere(
        ids, **{name: role and _role_view(role, ids, vocabulary) for name, role in roles.items()}
    )


def _role_view(role: TextEffectRecord, ids: list[int], vocabulary: Vocabulary) -> RoleHere:
    highest = max(role.kl_at)
    tokens = spans(ids, vocabulary, role.positions, role.kl_at, None, highest or 1.0)
    return RoleHere(
        role.positions,
        role.kl_at,
        tokens,
        highest,
        role.kl,
        role.ce,
        role.logit,
        in_sentence(role.promoted, vocabulary),
    )


def read_feature(feature: Feature, text: str, *, maximum: float | None = None) -> FeatureReading:
    """One feature of an SAE on each token of `text`; special tokens have 0."""
    sae = feature.sae
    about = _about(sae.model, [sae])
    asked = {
        "kind": "read_feature",
        "sae": sae.slug,
        "index": feature.index,
        "text": _readable(text),
        **about,
    }
    found = inference_requests.request(asked)
    ids, values = found["token_ids"], found["values"]
    highest = max(values)
    firing = [(place, value) for place, value in enumerate(values) if value > 0]
    places, sizes = [place for place, _ in firing], [value for _, value in firing]
    full = maximum or feature.max_activation or highest
    return FeatureReading(
        ids,
        values,
        spans(ids, vocabulary_of(sae.model_id, ids), places, sizes, None, full),
        highest,
    )


def read_text(saes: Sequence[Sae], text: str) -> list[TextReading]:
    """What fires on each token of `text`, in SAEs of one model; up to 64 features of each token and
    SAE.
    """
    return _request_activations(saes, {"kind": "read_text", "text": _readable(text)})


def read_context(sae: Sae, token_ids: Sequence[int]) -> TextReading:
    """What fires on each token of a context, whose ids are read as they were stored; likewise up to
    64 features.
    """
    return _request_activations([sae], {"kind": "read_context", "token_ids": list(token_ids)})[0]


def _request_activations(saes: Sequence[Sae], asked: Mapping[str, object]) -> list[TextReading]:
    model = saes[0].model
    found = inference_requests.request(
        {"saes": [sae.slug for sae in saes], **asked, **_about(model, saes)}
    )
    vocabulary = vocabulary_of(model.pk, (i for sae in saes for i in found[sae.slug]["token_ids"]))
    return [
        TextReading(
            sae,
            found[sae.slug]["token_ids"],
            spans(found[sae.slug]["token_ids"], vocabulary),
            [list(map(Fired, *token)) for token in found[sae.slug]["fired"]],
        )
        for sae in saes
    ]


def _about(model: LanguageModel, saes: Iterable[Sae]) -> dict[str, object]:
    """What every question holds: the hashes are in it so that an old answer is never taken for a
    new one.
    """
    return {"model": model.slug, "revision": model.revision, "made": [sae.sha256 for sae in saes]}


def _readable(text: str) -> str:
    """The text. Raises `InvalidInput` where no worker could read it."""
    if "\0" in text:
        raise InvalidInput(
            "text", "This text has a NUL character, which no tokenizer was trained on. Remove it."
        )
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(
            "text",
            f"This text has {len(text):,} characters; at most {MOST_CHARACTERS:,} can be read.",
        )
    return text
