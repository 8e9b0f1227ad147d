"""The kinds of inference requests, each computed by a warm model."""

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from features.inference import requests as inference_requests
from features.models import LanguageModel, Sae
from features.records import InvalidInput
from workers import model_cache
from workers.pipeline.model.language import Language
from workers.pipeline.steering.causal_effects import FeatureCase, measure_on_text
from workers.pipeline.steering.text_activations import Lens, TextActivations, TokenFeatures

log = logging.getLogger(__name__)
Params = dict[str, Any]
LONGEST_CHANGED = 256
"""Tokens of a text in which a feature is changed: each is read some thirty times."""


def compute(key: str) -> None:
    """Compute the result of one request. Never raises for what is wrong with it."""
    params = inference_requests.pending(key)
    if params is None:
        return
    try:
        inference_requests.store_result(key, KINDS[params["kind"]](params))
    except InvalidInput as error:
        inference_requests.store_error(key, error.field, error.message)
    except Exception as error:
        log.exception("cannot compute %s", params)
        inference_requests.store_error(
            key,
            "",
            f"The worker could not answer: {type(error).__name__}. Its log says more.",
            passing=True,
        )


def read_feature(params: Params) -> dict[str, Any]:
    """One feature on each token of a text."""
    model = _model(params)
    lens = _lenses(model, [params["sae"]])[params["sae"]]
    ids, values = _reader(model_cache.load_model(model)).feature_activations(
        lens, params["index"], params["text"]
    )
    return {"token_ids": ids, "values": values}


def effect(params: Params) -> dict[str, Any]:
    """What changing a feature does in a text; a role is null where the text has no place for it."""
    model = _model(params)
    lens = _lenses(model, [params["sae"]])[params["sae"]]
    language = model_cache.load_model(model)
    ids, values = _reader(language).feature_activations(lens, params["index"], params["text"])
    if len(ids) > LONGEST_CHANGED:
        raise InvalidInput(
            "prompt",
            f"This text has {len(ids):,} tokens; at most {LONGEST_CHANGED} can be measured at "
            "once.",
        )
    fires = [place for place, value in enumerate(values) if value > 0]
    case = FeatureCase(params["index"], params["maximum"], params["tokens"], [(ids, fires)])
    reads, writes = measure_on_text(language, lens, case)
    return {
        "token_ids": ids,
        "reads": reads and reads._asdict(),
        "writes": writes and writes._asdict(),
    }


def read_text(params: Params) -> dict[str, Any]:
    """The strongest features of some SAEs on each token of a text."""
    model = _model(params)
    lenses = _lenses(model, params["saes"])
    return _listed(_reader(model_cache.load_model(model)).features_of_text(lenses, params["text"]))


def read_context(params: Params) -> dict[str, Any]:
    """The same on each token of a context, whose ids are in the params as they were stored."""
    model = _model(params)
    lenses = _lenses(model, params["saes"])
    return _listed(
        _reader(model_cache.load_model(model)).features_of_context(lenses, params["token_ids"])
    )


def embed(params: Params) -> dict[str, Any]:
    """What a text means, and by whose reading."""
    embedder = model_cache.load_embedder()
    (vector,) = embedder.embed([params["text"]]).tolist()
    return {"embedder": embedder.name, "vector": [round(value, 6) for value in vector]}


KINDS: dict[str, Callable[[Params], dict[str, Any]]] = {
    "read_feature": read_feature,
    "effect": effect,
    "read_text": read_text,
    "read_context": read_context,
    "embed": embed,
}


def _listed(found: Mapping[str, tuple[list[int], list[TokenFeatures]]]) -> dict[str, Any]:
    return {
        name: {"token_ids": ids, "fired": [list(token) for token in fired]}
        for name, (ids, fired) in found.items()
    }


@lru_cache(maxsize=model_cache.CACHED_MODELS)
def _reader(language: Language) -> TextActivations:
    return TextActivations(language)


def _model(params: Params) -> LanguageModel:
    model = LanguageModel.objects.filter(slug=params["model"]).first()
    if model is None:
        raise InvalidInput("model", f"There is no model “{params['model']}” any more.")
    return model


def _lenses(model: LanguageModel, slugs: list[str]) -> dict[str, Lens]:
    rows = {row.slug: row for row in Sae.objects.filter(model=model, slug__in=slugs)}
    for slug in slugs:
        if slug not in rows:
            raise InvalidInput("sae", f"{model} has no SAE “{slug}” any more.")
    return {
        slug: Lens(model_cache.load_sae(row), row.hook, row.prepend_bos)
        for slug, row in rows.items()
    }
