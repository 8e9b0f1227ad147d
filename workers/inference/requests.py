"""The kinds of inference requests, each computed by a loaded model."""

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
from workers.pipeline.steering.text_activations import Lens, TextActivations, TextFeatures

log = logging.getLogger(__name__)
Params = dict[str, Any]
MAX_CHANGED_TOKENS = 256
"""Tokens of a text in which a feature is changed: each takes about thirty forward passes."""


def compute(key: str) -> None:
    """Compute and store the result of a request. Errors are stored, not raised."""
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


def feature_activations(params: Params) -> dict[str, Any]:
    """The activation of one feature on each token of a text; `left_out` are the positions that do
    not count although they are not special.
    """
    model = _model(params)
    lens = _lenses(model, [params["sae"]])[params["sae"]]
    reader = _reader(model_cache.load_model(model))
    ids, values = reader.feature_activations(lens, params["index"], params["text"])
    return {"token_ids": ids, "values": values, "left_out": reader.left_out(lens, ids)}


def text_effect(params: Params) -> dict[str, Any]:
    """The effect of changing a feature in a text; a role is null where no position fits it."""
    model = _model(params)
    lens = _lenses(model, [params["sae"]])[params["sae"]]
    language = model_cache.load_model(model)
    reader = _reader(language)
    ids, values = reader.feature_activations(lens, params["index"], params["text"])
    if len(ids) > MAX_CHANGED_TOKENS:
        raise InvalidInput(
            "prompt",
            f"This text has {len(ids):,} tokens; at most {MAX_CHANGED_TOKENS} can be measured at "
            "once.",
        )
    positions = [position for position, value in enumerate(values) if value != 0]
    case = FeatureCase(params["index"], params["maximum"], params["tokens"], [(ids, positions)])
    reads, writes = measure_on_text(language, lens, case)
    return {
        "token_ids": ids,
        "left_out": reader.left_out(lens, ids),
        "reads": reads and reads.to_json(),
        "writes": writes and writes.to_json(),
    }


def features_of_text(params: Params) -> dict[str, Any]:
    """The strongest features of several SAEs on each token of a text."""
    model = _model(params)
    lenses = _lenses(model, params["saes"])
    reader = _reader(model_cache.load_model(model))
    return _to_json(reader, lenses, reader.features_of_text(lenses, params["text"]))


def features_of_context(params: Params) -> dict[str, Any]:
    """The strongest features of several SAEs on each token of a stored context."""
    model = _model(params)
    lenses = _lenses(model, params["saes"])
    reader = _reader(model_cache.load_model(model))
    return _to_json(reader, lenses, reader.features_of_context(lenses, params["token_ids"]))


def embed(params: Params) -> dict[str, Any]:
    """The embedding of a text, and the name of the embedder."""
    embedder = model_cache.load_embedder()
    (vector,) = embedder.embed([params["text"]]).tolist()
    return {"embedder": embedder.name, "vector": [round(value, 6) for value in vector]}


KINDS: dict[str, Callable[[Params], dict[str, Any]]] = {
    "read_feature": feature_activations,
    "effect": text_effect,
    "read_text": features_of_text,
    "read_context": features_of_context,
    "embed": embed,
}


def _to_json(
    reader: TextActivations, lenses: Mapping[str, Lens], features: Mapping[str, TextFeatures]
) -> dict[str, Any]:
    return {
        name: {
            "token_ids": ids,
            "fired": [list(token) for token in fired],
            "left_out": reader.left_out(lenses[name], ids),
        }
        for name, (ids, fired) in features.items()
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
        slug: Lens(model_cache.load_sae(row), row.hook, row.prepend_bos, row.rule_of_dashboards)
        for slug, row in rows.items()
    }
