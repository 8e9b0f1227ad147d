"""Match the features of two SAEs: for each feature, the one of the other SAE whose decoder
direction has the highest cosine.

    for each block of features of the first SAE
        for each block of features of the second SAE
            cosines = unit(first block) @ unit(second block).T
            update the best match of each row, and of each column

so that the cosines of all pairs are never in memory together. Of equal cosines the lowest index
wins. A decoder row of zeros has cosine 0 with every other.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from features.records import FeatureMatches, InvalidInput, Progress, SaeMatches

ROWS = COLUMNS = 1 << 12
"""Block size: 64 MB of float32 cosines, however wide the SAEs are."""
MIN_NORM = 1e-12


class _BestMatches:
    """The highest cosine so far of each feature, and the index of the feature that has it."""

    def __init__(self, count: int, device: torch.device) -> None:
        self.cosines = torch.full((count,), -torch.inf, device=device)
        self.indices = torch.zeros(count, dtype=torch.int64, device=device)

    def update(
        self, features: slice, cosines: Float[Tensor, " n"], indices: Int64[Tensor, " n"]
    ) -> None:
        better = cosines > self.cosines[features]
        self.cosines[features] = torch.where(better, cosines, self.cosines[features])
        self.indices[features] = torch.where(better, indices, self.indices[features])

    def record(self) -> FeatureMatches:
        return FeatureMatches(self.indices.tolist(), self.cosines.clamp(-1, 1).tolist())


@torch.no_grad()
def match_features(
    decoder: Float[Tensor, "features d_out"],
    other: Float[Tensor, "others d_out"],
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress | SaeMatches]:
    """Yield progress in features, and at the end the matches in both directions.

    If `should_stop()` returns true, the generator ends early. Raises `InvalidInput("other")` if the
    SAEs write a different number of dimensions.
    """
    if decoder.shape[1] != other.shape[1]:
        raise InvalidInput(
            "other",
            f"Its features write {other.shape[1]} dimensions, those of the first "
            f"{decoder.shape[1]}: no cosine compares them.",
        )
    forward = _BestMatches(len(decoder), decoder.device)
    backward = _BestMatches(len(other), decoder.device)
    for rows in _blocks(len(decoder), ROWS):
        yield Progress(rows.start, len(decoder), "features", "Comparing each with each")
        first = _unit_rows(decoder[rows])
        for columns in _blocks(len(other), COLUMNS):
            if should_stop():
                return
            cosines = first @ _unit_rows(other[columns].to(first.device)).T
            best, index = cosines.max(1)
            forward.update(rows, best, index + columns.start)
            best, index = cosines.max(0)
            backward.update(columns, best, index + rows.start)
    yield Progress(len(decoder), len(decoder), "features", "Comparing each with each")
    yield SaeMatches(forward.record(), backward.record())


def _blocks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _unit_rows(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    norms = rows.norm(dim=1, dtype=torch.float32).clamp(min=MIN_NORM)
    return rows.float() / norms[:, None]
