"""Caches of loaded models and SAEs: those that were used last stay loaded from job to job."""

import tempfile
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from sae_lens import SAE

from features import artifact_store
from features.models import LanguageModel, Sae
from features.records import InvalidInput
from features.services import embeddings
from workers.devices import device
from workers.pipeline.embedder import Embedder
from workers.pipeline.model.language import Language, load_language
from workers.pipeline.sae import io as sae_io

CACHED_MODELS, CACHED_SAES = 2, 8


def load_model(model: LanguageModel) -> Language:
    """Return the weights of `model`.

    Raises `InvalidInput("model")` if they cannot be loaded, or are not those that were added.
    """
    try:
        language = _load_language(model.source, model.revision)
    except InvalidInput as error:  # the caller has a model, not a source
        raise type(error)("model", error.message) from error
    if language.revision != model.revision:
        raise InvalidInput(
            "model",
            f"{model.source} is now {language.revision}, but {model} was added at "
            f"{model.revision}.",
        )
    return language


def load_sae(sae: Sae) -> SAE:
    """Return the weights of `sae`, with every scale folded.

    Raises `InvalidInput("sae")` if they are missing, or are not those that were stored.
    """
    return _load_artifact(sae.artifact, sae.sha256)


@lru_cache(maxsize=1)
def load_embedder() -> Embedder:
    """Return the embedding model of labels. Raises `InvalidInput` if there is none."""
    if settings.EMBEDDER == embeddings.OFF:
        raise InvalidInput(
            "", "Search by meaning is switched off here: FEATURESCOPE_EMBEDDER is “off”."
        )
    return Embedder(settings.EMBEDDER, device())


def clear() -> None:
    """Forget the loaded models and SAEs."""
    _load_language.cache_clear()
    _load_artifact.cache_clear()


@lru_cache(maxsize=CACHED_MODELS)
def _load_language(source: str, revision: str) -> Language:
    return load_language(source, "" if Path(source).is_dir() else revision, device=device())


@lru_cache(maxsize=CACHED_SAES)
def _load_artifact(artifact: str, sha256: str) -> SAE:
    with tempfile.TemporaryDirectory() as folder:
        try:
            artifact_store.get(artifact, folder)
        except artifact_store.Missing as error:
            raise InvalidInput("sae", str(error)) from None
        if sae_io.content_hash(folder) != sha256:
            raise InvalidInput(
                "sae",
                f"The weights at {artifact} are not those that were stored: import or train the "
                "SAE again.",
            )
        return sae_io.load_sae(folder, device=device())
