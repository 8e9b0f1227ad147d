"""Split contexts into training and held-out ones by their documents, so that no text is in both."""

import hashlib
from collections.abc import Iterable


class DocumentSplit:
    """Assigns contexts to training (False) or held out (True), with a seed.

    The first text of a context that is in neither part yet decides, by its hash. A context that
    would bring a text into the other part is left out.
    """

    def __init__(self, held_out_share: float, seed: int) -> None:
        self._threshold = held_out_share * 2**64
        self._key = seed.to_bytes(8, "little")
        self._sides: dict[int, bool] = {}

    def side_of(self, texts: Iterable[str]) -> bool | None:
        """Return the part of a context that is cut from these texts; None if it is left out."""
        hashes = [self._hash(text) for text in texts]
        sides = {self._sides[value] for value in hashes if value in self._sides}
        new = next((value for value in hashes if value not in self._sides), None)
        if new is not None:
            sides.add(new < self._threshold)
        if len(sides) != 1:
            return None
        side = sides.pop()
        self._sides |= dict.fromkeys(hashes, side)
        return side

    def _hash(self, text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, digest_size=8, key=self._key)
        return int.from_bytes(digest.digest(), "little")
