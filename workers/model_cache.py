"""Models and SAEs kept in memory between jobs, least recently used out first."""

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

MODELS, SAES = 2, 8


def load_model(model: LanguageModel) -> Language:
    """The weights of `model`. Raises `InvalidInput` where they are no longer the ones that
    were added.
    """
    try:
        loaded = _language(model.source, model.revision)
    except InvalidInput as error:  # to whoever asked here, its source is no setting
        raise type(error)("model", error.message) from error
    if loaded.revision != model.revision:
        raise InvalidInput(
            "model",
            f"{model.source} is now {loaded.revision}, but {model} was added at {model.revision}.",
        )
    return loaded


def load_sae(row: Sae) -> SAE:
    """The weights of an SAE, with every scale folded. Raises `InvalidInput` where they are gone, or
    not those that were kept.
    """
    return _sae(row.artifact, row.sha256)


@lru_cache(maxsize=1)
def load_embedder() -> Embedder:
    """The model that reads what labels mean. Raises `InvalidInput` where there is none."""
    if settings.EMBEDDER == embeddings.OFF:
        raise InvalidInput(
            "", "Search by meaning is switched off here: FEATURESCOPE_EMBEDDER is “off”."
        )
    return Embedder(settings.EMBEDDER, device())


@lru_cache(maxsize=MODELS)
def _language(source: str, revision: str) -> Language:
    return load_language(source, "" if Path(source).is_dir() else revision, device=device())


@lru_cache(maxsize=SAES)
def _sae(artifact: str, sha256: str) -> SAE:
    with tempfile.TemporaryDirectory() as folder:
        try:
            artifact_store.get(artifact, folder)
        except artifact_store.Missing as missing:
            raise InvalidInput("sae", str(missing)) from None
        if sae_io.content_hash(folder) != sha256:
            raise InvalidInput(
                "sae",
                f"The weights at {artifact} are not those that were kept: import or train it "
                "again.",
            )
        return sae_io.load_sae(folder, device=device())
