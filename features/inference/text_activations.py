"""Activations of features on a typed text, computed by a warm inference worker. Nothing is stored.

All functions let `InvalidInput` and `NoAnswer` through.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db.models import prefetch_related_objects

from features.inference import requests as inference_requests
from features.models import Feature, LanguageModel, Sae
from features.records import ControlledValue, InvalidInput, TextEffectRecord
from features.token_spans import Span, Vocabulary, in_sentence, spans, strongest
from features.vocabulary import vocabulary_of

MAX_CHARACTERS = 20_000
MAX_SAES = 12


class FeatureReading(NamedTuple):
    """One feature on a text: the activation of each token, and token spans whose strength is
    relative to the feature's maximum.
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
    """A text through one SAE: its token spans, and for each token id the features that fire on it,
    strongest first.
    """

    sae: Sae
    token_ids: list[int]
    tokens: list[Span]
    fired: list[list[Fired]]


class TextRole(NamedTuple):
    """The effect of one change of a feature in a text: KL at each position as a heatmap, the
    numbers of the role, and the tokens whose logits rise most.
    """

    places: list[int]
    kl_at: list[float]
    tokens: list[Span]
    highest: float
    kl: ControlledValue
    ce: ControlledValue
    logit: ControlledValue
    promoted: list[str]


class TextEffect(NamedTuple):
    """Both roles of a feature in a text; None without a position to measure one: `reads` if it
    fires nowhere, `writes` if it fires everywhere.
    """

    token_ids: list[int]
    reads: TextRole | None
    writes: TextRole | None


def effect_in(feature: Feature, text: str) -> TextEffect:
    """Measure the effect of a live feature in `text`: ablated where it fires, its maximum added
    where it does not.
    """
    sae = feature.sae
    asked = {
        "kind": "effect",
        "sae": sae.slug,
        "index": feature.index,
        "text": _checked_text(text),
        "maximum": feature.max_activation,
        "tokens": feature.top_tokens,
        **_request_key(sae.model, [sae]),
    }
    found = inference_requests.request(asked)
    ids = found["token_ids"]
    roles = {
        name: TextEffectRecord.from_json(found[name]) if found[name] else None
        for name in ("reads", "writes")
    }
    promoted = [token for role in roles.values() if role for token in role.promoted]
    vocabulary = vocabulary_of(sae.model_id, [*ids, *promoted])
    return TextEffect(
        ids,
        **{
            name: role and _role_view(role, ids, vocabulary, found["left_out"])
            for name, role in roles.items()
        },
    )


def _role_view(
    role: TextEffectRecord, ids: list[int], vocabulary: Vocabulary, left_out: list[int]
) -> TextRole:
    highest = max(role.kl_at)
    tokens = spans(
        ids, vocabulary, role.positions, role.kl_at, None, highest or 1.0, left_out=left_out
    )
    return TextRole(
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
    """One feature of an SAE on each token of `text`; tokens that do not count have 0."""
    sae = feature.sae
    about = _request_key(sae.model, [sae])
    asked = {
        "kind": "read_feature",
        "sae": sae.slug,
        "index": feature.index,
        "text": _checked_text(text),
        **about,
    }
    found = inference_requests.request(asked)
    ids, values = found["token_ids"], found["values"]
    highest = abs(strongest(values) or 0.0)
    firing = [(place, value) for place, value in enumerate(values) if value != 0]
    places, sizes = [place for place, _ in firing], [value for _, value in firing]
    full = maximum or feature.max_activation or highest
    return FeatureReading(
        ids,
        values,
        spans(
            ids,
            vocabulary_of(sae.model_id, ids),
            places,
            sizes,
            None,
            full,
            left_out=found["left_out"],
        ),
        highest,
    )


def read_text(saes: Sequence[Sae], text: str) -> list[TextReading]:
    """The features that fire on each token of `text` in SAEs of one model, at most 64 per token and
    SAE.
    """
    return _request_activations(saes, {"kind": "read_text", "text": _checked_text(text)})


def read_context(sae: Sae, token_ids: Sequence[int]) -> TextReading:
    """The features that fire on each token of a stored context, at most 64 per token."""
    return _request_activations([sae], {"kind": "read_context", "token_ids": list(token_ids)})[0]


def _request_activations(saes: Sequence[Sae], asked: Mapping[str, object]) -> list[TextReading]:
    model = saes[0].model
    found = inference_requests.request(
        {"saes": [sae.slug for sae in saes], **asked, **_request_key(model, saes)}
    )
    vocabulary = vocabulary_of(model.pk, (i for sae in saes for i in found[sae.slug]["token_ids"]))
    return [
        TextReading(
            sae,
            found[sae.slug]["token_ids"],
            spans(found[sae.slug]["token_ids"], vocabulary, left_out=found[sae.slug]["left_out"]),
            [list(map(Fired, *token)) for token in found[sae.slug]["fired"]],
        )
        for sae in saes
    ]


def _request_key(model: LanguageModel, saes: Iterable[Sae]) -> dict[str, object]:
    """The part that all requests share: the hashes, and which tokens count, keep cached results of
    older weights and older rules from being used.
    """
    rows = list(saes)
    prefetch_related_objects(rows, "dashboard")
    return {
        "model": model.slug,
        "revision": model.revision,
        "made": [sae.sha256 for sae in rows],
        "counted": [list(sae.rule_of_dashboards) for sae in rows],
    }


def _checked_text(text: str) -> str:
    """The text. Raises `InvalidInput` if it is too long or has NUL characters."""
    if "\0" in text:
        raise InvalidInput(
            "text", "This text has a NUL character, which no tokenizer was trained on. Remove it."
        )
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(
            "text",
            f"This text has {len(text):,} characters; at most {MAX_CHARACTERS:,} can be read.",
        )
    return text
