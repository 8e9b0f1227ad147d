"""What the inference workers are asked: each kind of question, answered by a warm model."""

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
Question = dict[str, Any]
LONGEST_CHANGED = 256
"""Tokens of a text in which a feature is changed: each is read some thirty times."""


def answer(key: str) -> None:
    """Answer one question. Never raises for what is wrong with it."""
    question = inference_requests.question(key)
    if question is None:
        return
    try:
        inference_requests.give(key, KINDS[question["kind"]](question))
    except InvalidInput as error:
        inference_requests.refuse(key, error.field, error.message)
    except Exception as error:
        log.exception("cannot answer %s", question)
        inference_requests.refuse(
            key,
            "",
            f"The worker could not answer: {type(error).__name__}. Its log says more.",
            passing=True,
        )


def read_feature(question: Question) -> dict[str, Any]:
    """One feature on each token of a text."""
    model = _model(question)
    lens = _lenses(model, [question["sae"]])[question["sae"]]
    ids, values = _reader(model_cache.load_model(model)).feature_activations(
        lens, question["index"], question["text"]
    )
    return {"token_ids": ids, "values": values}


def effect(question: Question) -> dict[str, Any]:
    """What changing a feature does in a text; a role is null where the text has no place for it."""
    model = _model(question)
    lens = _lenses(model, [question["sae"]])[question["sae"]]
    language = model_cache.load_model(model)
    ids, values = _reader(language).feature_activations(lens, question["index"], question["text"])
    if len(ids) > LONGEST_CHANGED:
        raise InvalidInput(
            "prompt",
            f"This text has {len(ids):,} tokens; at most {LONGEST_CHANGED} can be measured at "
            "once.",
        )
    fires = [place for place, value in enumerate(values) if value > 0]
    case = FeatureCase(question["index"], question["maximum"], question["tokens"], [(ids, fires)])
    reads, writes = measure_on_text(language, lens, case)
    return {
        "token_ids": ids,
        "reads": reads and reads._asdict(),
        "writes": writes and writes._asdict(),
    }


def read_text(question: Question) -> dict[str, Any]:
    """The strongest features of some SAEs on each token of a text."""
    model = _model(question)
    lenses = _lenses(model, question["saes"])
    return _listed(
        _reader(model_cache.load_model(model)).features_of_text(lenses, question["text"])
    )


def read_context(question: Question) -> dict[str, Any]:
    """The same on each token of a context, whose ids are in the question as they were stored."""
    model = _model(question)
    lenses = _lenses(model, question["saes"])
    return _listed(
        _reader(model_cache.load_model(model)).features_of_context(lenses, question["token_ids"])
    )


def embed(question: Question) -> dict[str, Any]:
    """What a text means, and by whose reading."""
    embedder = model_cache.load_embedder()
    (vector,) = embedder.embed([question["text"]]).tolist()
    return {"embedder": embedder.name, "vector": [round(value, 6) for value in vector]}


KINDS: dict[str, Callable[[Question], dict[str, Any]]] = {
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


@lru_cache(maxsize=model_cache.MODELS)
def _reader(language: Language) -> TextActivations:
    return TextActivations(language)


def _model(question: Question) -> LanguageModel:
    model = LanguageModel.objects.filter(slug=question["model"]).first()
    if model is None:
        raise InvalidInput("model", f"There is no model “{question['model']}” any more.")
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
