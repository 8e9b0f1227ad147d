"""One SAE in training: SAELens's trainer (weights, optimizer, schedules) with our metrics, check of
the loss and inference threshold.

    set_initial_scale(block)    scale = sqrt(d_in) / mean norm; decoder bias = mean of the inputs
    step(batch)                 one optimizer step, and metrics every `log_tokens` tokens
    set_threshold(block)        BatchTopK only: the inference threshold of the final weights
    finish(folder)              fold the scale and the decoder norms into the weights, save
"""

import math
import time
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from sae_lens import TrainingSAE
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import TrainStepOutput
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from features.records import CountingRule, LeftOut, Metrics, TrainedSae
from workers.pipeline.model.language import Language
from workers.pipeline.sae.folder import RULE_METADATA
from workers.pipeline.sae.io import save_sae
from workers.pipeline.training.architectures import (
    TrainSettings,
    learning_rate,
    sae_config,
    training_steps,
)

WARM_UP, DECAY = 0.05, 0.3
"""Shares of the steps over which the learning rate rises at the start and falls at the end."""


class SaeTrainer:
    """Trains one SAE of a sweep.

    `name` is the SAE's name in the sweep, empty if it is trained alone. `failure` is empty, or says
    why training stopped: its loss is NaN or infinite. `latest` are the metrics logged last.
    """

    def __init__(self, name: str, language: Language, settings: TrainSettings, d_in: int) -> None:
        self.name, self.settings = name, settings
        self.trainer = _saelens_trainer(language, settings, d_in)
        self.latest: dict[str, float] = {}
        self.threshold: float | None = None
        self.failure = ""
        self._start_time, self._start_tokens, self._logged_tokens = time.monotonic(), 0, 0
        self._loss: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens trained on."""
        return self.trainer.n_training_samples

    @property
    def done(self) -> bool:
        """Whether the SAE needs no further batch: it has seen its tokens, or has failed."""
        return bool(self.failure) or self._all_tokens_seen

    @property
    def scale(self) -> float:
        """The factor that inputs are multiplied by."""
        scale = self.trainer.activation_scaler.scaling_factor
        assert scale is not None
        return scale

    @torch.no_grad()
    def set_initial_scale(self, block: Float[Tensor, "tokens d_in"]) -> None:
        """Scale inputs to a mean norm of sqrt(d_in) and set the decoder bias to their mean."""
        scale = math.sqrt(block.shape[1]) / block.norm(dim=-1).mean().item()
        self.trainer.activation_scaler.scaling_factor = scale
        self.trainer.sae.b_dec.copy_(block.mean(0) * scale)

    def resume(self, folder: Path) -> None:
        """Load weights, optimizer and schedules from this SAE's folder in a checkpoint."""
        self.trainer.load_trainer_state(folder)
        self.trainer.sae.load_weights_from_checkpoint(folder)
        self._start_tokens = self._logged_tokens = self.tokens
        self._start_time = time.monotonic()

    def save(self, folder: Path) -> None:
        """Save this SAE's part of a checkpoint below `folder`."""
        self.trainer.save_checkpoint(self.name or ".", base_path=folder)

    def step(self, batch: Float[Tensor, "batch d_in"]) -> Metrics | None:
        """Make one optimizer step. Returns metrics if they are due and the SAE has not failed."""
        trainer = self.trainer
        output = trainer.step(batch)
        # SAELens assumes that every batch has `batch_tokens` tokens.
        trainer.n_frac_active_samples += len(output.sae_in) - self.settings.batch_tokens
        trainer.n_training_steps += 1
        trainer.maybe_reset_sparsity()
        self._loss = output.loss.detach()
        if not self._metrics_due():
            return None
        self._logged_tokens = self.tokens
        if not self.check_loss():
            return None
        self.latest = self._metrics(output)
        return Metrics(self.tokens, self.latest, self.name)

    def check_loss(self) -> bool:
        """Return whether the last loss is finite. If it is not, the SAE has failed.

        This waits for the GPU, so it is called where metrics or a checkpoint need it.
        """
        if self._loss is not None and not self.failure and not math.isfinite(self._loss.item()):
            self.failure = (
                f"The loss is no longer a number after {self.tokens:,} tokens; "
                f"use a learning rate below {learning_rate(self.settings):g}."
            )
        return not self.failure

    @torch.no_grad()
    def set_threshold(self, block: Float[Tensor, "tokens d_in"]) -> None:
        """Measure the inference threshold of a BatchTopK SAE with its final weights on `block`."""
        sae = self.trainer.sae
        if hasattr(sae, "topk_threshold"):
            self.threshold = _batch_threshold(sae, block * self.scale, self.settings.k)

    @torch.no_grad()
    def finish(
        self, folder: Path, seconds: float, rule: CountingRule, left_out: LeftOut
    ) -> TrainedSae:
        """Fold the input scale and the decoder norms into the weights and save the SAE to `folder`.

        `seconds` is the duration of the training, for the SAE's metrics. `rule` says which tokens
        it was trained on; it is saved in the SAE's metadata.
        """
        trainer, settings = self.trainer, self.settings
        sae = trainer.sae
        if self.threshold is not None:
            sae.topk_threshold.fill_(self.threshold)
        trainer.set_final_sae_metadata()
        sae.cfg.metadata[RULE_METADATA] = rule._asdict()
        sae.fold_activation_norm_scaling_factor(self.scale)
        if settings.architecture in ("standard", "gated", "jumprelu"):
            sae.fold_W_dec_norm()
        return TrainedSae(
            path=str(folder),
            sha256=save_sae(sae, str(folder), trainer.log_feature_sparsity),
            architecture=settings.architecture,
            d_in=sae.cfg.d_in,
            width=settings.width,
            hook=settings.hook,
            context_size=settings.context_size,
            config=settings._asdict() | {"learning_rate": learning_rate(settings)},
            metrics=self.latest | {"tokens": float(self.tokens), "seconds": seconds},
            name=self.name,
            rule=rule,
            left_out=left_out,
        )

    @property
    def _all_tokens_seen(self) -> bool:
        return self.tokens >= self.settings.tokens

    def _metrics_due(self) -> bool:
        """After the first step, every `log_tokens` tokens, and after the last step."""
        first = self.trainer.n_training_steps == 1
        interval = self.tokens - self._logged_tokens >= self.settings.log_tokens
        return first or interval or self._all_tokens_seen

    @torch.no_grad()
    def _metrics(self, output: TrainStepOutput) -> dict[str, float]:
        """Metrics of one batch in the units of the model's activations, except `loss`, which is
        the value that the optimizer minimizes.
        """
        x, y = output.sae_in, output.sae_out
        error = (x - y).pow(2).sum(-1).mean().item()
        variance = (x - x.mean(0)).pow(2).sum(-1).mean().item()
        elapsed = time.monotonic() - self._start_time
        return {
            "loss": output.loss.item(),
            "mse": error / self.scale**2,
            "explained_variance": 1 - error / variance,
            "l0": (output.feature_acts != 0).sum().item() / len(x),
            "dead_share": self.trainer.dead_neurons.float().mean().item(),
            "learning_rate": self.trainer.optimizer.param_groups[0]["lr"],
            "tokens_per_second": (self.tokens - self._start_tokens) / max(elapsed, 1e-9),
        }


def _saelens_trainer(
    language: Language, settings: TrainSettings, d_in: int
) -> SAETrainer[Any, Any]:
    step_count = training_steps(settings)
    config = SAETrainerConfig(
        total_training_samples=settings.tokens,
        train_batch_size_samples=settings.batch_tokens,
        lr=learning_rate(settings),
        lr_end=learning_rate(settings) / 10,
        lr_warm_up_steps=int(step_count * WARM_UP),
        lr_decay_steps=int(step_count * DECAY),
        device=str(language.device),
        dead_feature_window=max(1, settings.dead_tokens // settings.batch_tokens),
        feature_sampling_window=max(1, step_count // 4),
    )
    return SAETrainer(config, _initial_sae(language, settings, d_in), data_provider=iter(()))


def _initial_sae(language: Language, settings: TrainSettings, d_in: int) -> TrainingSAE[Any]:
    """An SAE with random weights, which depend on the seed only."""
    metadata = {
        "model_name": language.model.config.name_or_path,
        "model_revision": language.revision,
        "hook_name": settings.hook,
        "context_size": settings.context_size,
        "prepend_bos": settings.prepend_bos and language.tokenizer.bos_token_id is not None,
        "exclude_special_tokens": True,
    }
    config = sae_config(settings, d_in, metadata)
    config.device = str(language.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return TrainingSAE.from_dict(config.to_dict())


def _batch_threshold(
    sae: TrainingSAE[Any], block: Float[Tensor, "tokens d_in"], k: int, batch: int = 2048
) -> float:
    """The activation that k features per token exceed on average: BatchTopK's inference threshold.

    SAELens's own running mean starts at 0 and lags behind the weights, so that after a short run
    far too many features are active.
    """
    thresholds = []
    for part in block.split(batch):
        _, hidden_pre = sae.encode_with_hidden_pre(part)
        smallest = hidden_pre.flatten().topk(k * len(part), sorted=False).values.min()
        thresholds.append(smallest.clamp(min=0).item())
    return sum(thresholds) / len(thresholds)
