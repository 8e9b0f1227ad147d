"""One SAE in training: SAELens's trainer (weights, optimizer, schedules), its metrics, its part of
a checkpoint, its end.
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

from features.records import Metrics, TrainedSae
from workers.pipeline.model.language import Language
from workers.pipeline.sae.io import save_sae
from workers.pipeline.training.architectures import TrainSettings, learning_rate, sae_config, steps

WARM_UP, DECAY = 0.05, 0.3
"""Shares of the steps over which the learning rate rises, and falls to zero."""


class Lane:
    """One SAE beside the others of its sweep: `name` is empty where it is alone.

    `lost` says why it went no further: its loss is no longer a number. It is over when it has seen
    its tokens, or is lost.
    """

    def __init__(self, name: str, language: Language, settings: TrainSettings, d_in: int) -> None:
        self.name, self.settings = name, settings
        self.trainer = _trainer(language, settings, d_in)
        self.latest: dict[str, float] = {}
        self.threshold: float | None = None
        self.lost = ""
        self.began, self.began_tokens, self.logged = time.monotonic(), 0, 0
        self._loss: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Tokens trained on."""
        return self.trainer.n_training_samples

    @property
    def over(self) -> bool:
        """Whether it needs no further batch."""
        return bool(self.lost) or self.tokens >= self.settings.tokens

    @property
    def scale(self) -> float:
        """What inputs are multiplied by."""
        scale = self.trainer.activation_scaler.scaling_factor
        assert scale is not None
        return scale

    @torch.no_grad()
    def start_at(self, block: Float[Tensor, "tokens d_in"]) -> None:
        """Scale inputs to a mean norm of sqrt(d_in), and start the decoder's bias at their mean."""
        scale = math.sqrt(block.shape[1]) / block.norm(dim=-1).mean().item()
        self.trainer.activation_scaler.scaling_factor = scale
        self.trainer.sae.b_dec.copy_(block.mean(0) * scale)

    def resume(self, folder: Path) -> None:
        """Go on from its part of a checkpoint."""
        self.trainer.load_trainer_state(folder)
        self.trainer.sae.load_weights_from_checkpoint(folder)
        self.began_tokens = self.logged = self.tokens
        self.began = time.monotonic()

    def step(self, batch: Float[Tensor, "batch d_in"]) -> Metrics | None:
        """One optimizer step; its metrics where they are due."""
        trainer = self.trainer
        output = trainer.step(batch)
        trainer.n_frac_active_samples += (
            len(output.sae_in) - self.settings.batch_tokens
        )  # it counts full batches only
        trainer.n_training_steps += 1
        trainer.maybe_reset_sparsity()
        self._loss = output.loss.detach()
        done = self.tokens >= self.settings.tokens
        if (
            self.tokens - self.logged < self.settings.log_tokens
            and trainer.n_training_steps > 1
            and not done
        ):
            return None
        self.logged = self.tokens
        if self.sound():
            self.latest = self._measure(output)
        return Metrics(self.tokens, self.latest, self.name) if not self.lost else None

    def sound(self) -> bool:
        """Whether the last loss is a number; where it is none, the SAE is lost from here on."""
        if self._loss is not None and not self.lost and not math.isfinite(self._loss.item()):
            self.lost = (
                f"The loss is no longer a number after {self.tokens:,} tokens; "
                f"use a learning rate below {learning_rate(self.settings):g}."
            )
        return not self.lost

    @torch.no_grad()
    def settle(self, block: Float[Tensor, "tokens d_in"]) -> None:
        """After the last batch: choose what can only be chosen with the final weights, on the last
        block.
        """
        sae = self.trainer.sae
        if hasattr(sae, "topk_threshold"):
            self.threshold = _batch_threshold(sae, block * self.scale, self.settings.k)

    @torch.no_grad()
    def finish(self, folder: Path, seconds: float) -> TrainedSae:
        """Fold every scale, save the SAE to `folder`, and say what was measured in `seconds` of
        training.
        """
        trainer, settings = self.trainer, self.settings
        sae = trainer.sae
        if self.threshold is not None:
            sae.topk_threshold.fill_(self.threshold)
        trainer.set_final_sae_metadata()
        sae.fold_activation_norm_scaling_factor(self.scale)
        if settings.architecture in ("standard", "gated", "jumprelu"):
            sae.fold_W_dec_norm()
        digest = save_sae(sae, str(folder), trainer.log_feature_sparsity)
        return TrainedSae(
            path=str(folder),
            sha256=digest,
            architecture=settings.architecture,
            d_in=sae.cfg.d_in,
            width=settings.width,
            hook=settings.hook,
            context_size=settings.context_size,
            config=settings._asdict() | {"learning_rate": learning_rate(settings)},
            metrics=self.latest | {"tokens": float(self.tokens), "seconds": seconds},
            name=self.name,
        )

    @torch.no_grad()
    def _measure(self, output: TrainStepOutput) -> dict[str, float]:
        """Metrics of one batch, in the units of the model's activations; `loss` is what the
        optimizer sees.
        """
        x, y = output.sae_in, output.sae_out
        error = (x - y).pow(2).sum(-1).mean().item()
        variance = (x - x.mean(0)).pow(2).sum(-1).mean().item()
        elapsed = time.monotonic() - self.began
        return {
            "loss": output.loss.item(),
            "mse": error / self.scale**2,
            "explained_variance": 1 - error / variance,
            "l0": (output.feature_acts != 0).sum().item() / len(x),
            "dead_share": self.trainer.dead_neurons.float().mean().item(),
            "learning_rate": self.trainer.optimizer.param_groups[0]["lr"],
            "tokens_per_second": (self.tokens - self.began_tokens) / max(elapsed, 1e-9),
        }


def _trainer(language: Language, settings: TrainSettings, d_in: int) -> SAETrainer[Any, Any]:
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
        sae: TrainingSAE[Any] = TrainingSAE.from_dict(config.to_dict())
    count = steps(settings)
    trainer_config = SAETrainerConfig(
        total_training_samples=settings.tokens,
        train_batch_size_samples=settings.batch_tokens,
        lr=learning_rate(settings),
        lr_end=learning_rate(settings) / 10,
        lr_warm_up_steps=int(count * WARM_UP),
        lr_decay_steps=int(count * DECAY),
        device=str(language.device),
        dead_feature_window=max(1, settings.dead_tokens // settings.batch_tokens),
        feature_sampling_window=max(1, count // 4),
    )
    return SAETrainer(trainer_config, sae, data_provider=iter(()))


def _batch_threshold(sae: TrainingSAE[Any], block: Tensor, k: int, batch: int = 2048) -> float:
    """The activation that on average k features per token exceed: what BatchTopK's inference form
    uses as its threshold.

    Measured with the final weights on the last block. SAELens's own running mean starts from 0 and
    lags the weights, which leaves far too many features active after a short run.
    """
    thresholds = []
    for part in block.split(batch):
        _, before = sae.encode_with_hidden_pre(part)
        thresholds.append(
            before.flatten().topk(k * len(part), sorted=False).values.min().clamp(min=0).item()
        )
    return sum(thresholds) / len(thresholds)
