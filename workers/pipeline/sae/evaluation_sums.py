"""Sums over the tokens of an evaluation, in float64, and the numbers that follow from them.

With x an activation, y its reconstruction and f the features, over all counted tokens (no special
tokens and no outliers, see `model.counted_tokens`):

    explained_variance            1 - E|x - y|^2 / (E|x|^2 - |E x|^2)
    mse                           E |x - y|^2, summed over dimensions
    cosine, l2_ratio              E cos(x, y), E |y| / |x|
    l0                            mean number of features that fire
    dead_share, dense_share       share of features that never fire; that fire on more than 10%
    reconstruction_bias           E |y|^2 / E x.y; below 1 means shrinkage
    explained_variance_with_outliers   the same as explained_variance, with outliers added; only
                                  where there are any
    explained_variance_per_token  E (1 - |x - y|^2 / |x - m|^2), m the mean of the token's batch, as
                                  SAEBench reports it
    ce_loss_score                 (ce_zero - ce_sae) / (ce_zero - ce_original)
    kl_score                      (kl_zero - kl_sae) / kl_zero
"""

import torch
from jaxtyping import Float, Int64
from sae_lens import SAE
from torch import Tensor

from features.records import LeftOut

DENSITY_EDGES = [-7 + bin / 4 for bin in range(29)]
"""Edges of `Evaluation.density_histogram`: log10 of the share of tokens a feature fires on, 28 bins
from 1e-7 to 1.

A bin includes its lower edge, the last bin also its upper edge. Features that never fire are in no
bin (see `dead_share`).
"""
DENSE = 0.1
MIN_DENOMINATOR = 1e-12
NEXT_TOKEN_SUMS = ("ce_original", "ce_sae", "ce_zero", "kl_sae", "kl_zero")


class EvaluationSums:
    """Accumulates batches: `add_reconstructions`, `add_predictions`, and finally `values`."""

    def __init__(self, sae: SAE, device: torch.device) -> None:
        self.tokens = self.predictions = self.outliers = 0
        self.left_out = LeftOut()
        self.sums: dict[str, float] = {}
        self.x_sum = torch.zeros(sae.W_dec.shape[1], dtype=torch.float64, device=device)
        self.outlier_sum = torch.zeros_like(self.x_sum)
        self.firings = torch.zeros(sae.cfg.d_sae, dtype=torch.int64, device=device)

    def add_reconstructions(
        self,
        x: Float[Tensor, "tokens d_out"],
        y: Float[Tensor, "tokens d_out"],
        features: Float[Tensor, "tokens d_sae"],
    ) -> None:
        """Add the counted tokens of one batch."""
        x, y = x.double(), y.double()
        x_norm, y_norm, dot = x.norm(dim=-1), y.norm(dim=-1), (x * y).sum(-1)
        error, deviation = (x - y).pow(2).sum(-1), (x - x.mean(0)).pow(2).sum(-1)
        self.tokens += len(x)
        self.x_sum += x.sum(0)
        self.firings += (features != 0).sum(0)
        self._add(
            error=error,
            x_power=x.pow(2),
            y_power=y.pow(2),
            dot=dot,
            explained_per_token=1 - error / deviation.clamp(min=MIN_DENOMINATOR),
            cosine=dot / (x_norm * y_norm).clamp(min=MIN_DENOMINATOR),
            ratio=y_norm / x_norm.clamp(min=MIN_DENOMINATOR),
        )

    def add_outliers(
        self, x: Float[Tensor, "tokens d_out"], y: Float[Tensor, "tokens d_out"]
    ) -> None:
        """Add the outliers of one batch, which count for no other number."""
        x, y = x.double(), y.double()
        self.outliers += len(x)
        self.outlier_sum += x.sum(0)
        self._add(outlier_error=(x - y).pow(2), outlier_power=x.pow(2))

    def add_left_out(self, left_out: LeftOut) -> None:
        """Add the counts of the tokens that did not count in one batch."""
        self.left_out = self.left_out.plus(left_out)

    def add_predictions(self, count: int, **values: Float[Tensor, " predictions"]) -> None:
        """Add `NEXT_TOKEN_SUMS` of `count` predicted tokens, in nats."""
        self.predictions += count
        self._add(**values)

    def values(self) -> dict[str, float]:
        """Return the numbers by name. A number with a denominator of 0 is NaN."""
        sums, tokens = self.sums, self.tokens
        density = self.firings.double() / tokens
        values = {
            "l0": self.firings.sum().item() / tokens,
            "explained_variance": _explained_variance(
                tokens, self.x_sum, sums["x_power"], sums["error"]
            ),
            "mse": sums["error"] / tokens,
            "cosine": sums["cosine"] / tokens,
            "l2_ratio": sums["ratio"] / tokens,
            "dead_share": (self.firings == 0).double().mean().item(),
            "dense_share": (density > DENSE).double().mean().item(),
            "reconstruction_bias": _ratio(sums["y_power"], sums["dot"]),
            "explained_variance_per_token": sums["explained_per_token"] / tokens,
        }
        if self.outliers:
            values["explained_variance_with_outliers"] = _explained_variance(
                tokens + self.outliers,
                self.x_sum + self.outlier_sum,
                sums["x_power"] + sums["outlier_power"],
                sums["error"] + sums["outlier_error"],
            )
        return values | self._next_token_values()

    def _next_token_values(self) -> dict[str, float]:
        if not self.predictions:
            return {}
        values = {name: self.sums[name] / self.predictions for name in NEXT_TOKEN_SUMS}
        ce_zero, kl_zero = values["ce_zero"], values["kl_zero"]
        loss_of_ablation = ce_zero - values["ce_original"]
        values["ce_loss_score"] = _ratio(ce_zero - values["ce_sae"], loss_of_ablation)
        values["kl_score"] = _ratio(kl_zero - values["kl_sae"], kl_zero)
        return values

    def _add(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.sum(dtype=torch.float64).item()


def density_histogram(firings: Int64[Tensor, " d_sae"], tokens: int) -> list[int]:
    """Return the number of features per bin of `DENSITY_EDGES`.

    `firings` are the numbers of tokens, of `tokens`, that each feature fires on.
    """
    densities = (firings[firings > 0].double() / tokens).log10()
    densities = densities.clamp(DENSITY_EDGES[0], DENSITY_EDGES[-1])
    edges = torch.tensor(DENSITY_EDGES, dtype=torch.float64, device=densities.device)
    bins = (torch.bucketize(densities, edges, right=True) - 1).clamp(max=len(DENSITY_EDGES) - 2)
    return torch.bincount(bins, minlength=len(DENSITY_EDGES) - 1).tolist()


def _explained_variance(
    tokens: int, x_sum: Float[Tensor, " d_out"], power: float, error: float
) -> float:
    variance = power / tokens - (x_sum / tokens).pow(2).sum().item()
    return 1 - error / tokens / variance if variance > 0 else float("nan")


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")
