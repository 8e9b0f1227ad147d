"""For every feature of two SAEs, the nearest feature of the other by cosine of decoder directions;
in blocks, never all pairs.

One pass over the blocks serves both directions. Of equal cosines the lowest index wins. A decoder
row of zeros has cosine 0 with all, so its match means nothing, and says so by that number.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from features.records import FeatureMatches, InvalidInput, Progress, SaeMatches

ROWS = COLUMNS = 1 << 12
"""Cosines at once: 64 MB of float32, however wide the SAEs are."""
TINY = 1e-12


class _Best:
    """The highest cosine so far of each of some features, and with which."""

    def __init__(self, count: int, device: torch.device) -> None:
        self.cosines = torch.full((count,), -torch.inf, device=device)
        self.indices = torch.zeros(count, dtype=torch.int64, device=device)

    def take(self, at: slice, cosines: Tensor, indices: Tensor) -> None:
        better = cosines > self.cosines[at]
        self.cosines[at] = torch.where(better, cosines, self.cosines[at])
        self.indices[at] = torch.where(better, indices, self.indices[at])

    def record(self) -> FeatureMatches:
        return FeatureMatches(self.indices.tolist(), self.cosines.clamp(-1, 1).tolist())


@torch.no_grad()
def match_features(
    decoder: Float[Tensor, "features d_out"],
    other: Float[Tensor, "others d_out"],
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | SaeMatches]:
    """Yield progress in features and, last, the matches both ways. `InvalidInput("other")` where
    the directions have other lengths.

    Where `should_stop` turns true, the generator ends early.
    """
    if decoder.shape[1] != other.shape[1]:
        raise InvalidInput(
            "other",
            f"Its features write {other.shape[1]} dimensions, those of the first "
            f"{decoder.shape[1]}: no cosine compares them.",
        )
    there, back = _Best(len(decoder), decoder.device), _Best(len(other), decoder.device)
    columns = [
        slice(first, min(first + COLUMNS, len(other))) for first in range(0, len(other), COLUMNS)
    ]
    for first in range(0, len(decoder), ROWS):
        yield Progress(first, len(decoder), "features", "Comparing each with each")
        rows = slice(first, min(first + ROWS, len(decoder)))
        unit = _unit(decoder[rows])
        for block in columns:
            if should_stop():
                return
            cosines = unit @ _unit(other[block].to(unit.device)).T
            best, place = cosines.max(1)
            there.take(rows, best, place + block.start)
            best, place = cosines.max(0)
            back.take(block, best, place + first)
    yield Progress(len(decoder), len(decoder), "features", "Comparing each with each")
    yield SaeMatches(there.record(), back.record())


def _unit(rows: Tensor) -> Tensor:
    return rows.float() / rows.norm(dim=1, dtype=torch.float32).clamp(min=TINY)[:, None]
