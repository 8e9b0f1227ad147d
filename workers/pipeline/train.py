"""Train an SAE: our own loop around SAELens's trainer, with live metrics, checkpoints, and an exact resume.

    x = activation * scale                      scale = sqrt(d_in) / mean norm, from the first block
    loss = |x - decode(encode(x))|^2 + what the architecture adds;   Adam, warm-up, linear decay at the end
    at the end: fold the scale (and decoder norms) into the weights, save in SAELens's format

SAELens's own runner is not used: it shows no metrics without W&B, loses a run on SIGTERM, and resumes inexactly.
"""

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from sae_lens import TrainingSAE
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import TrainStepOutput
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from features.records import Checkpoint, LogLine, Metrics, Progress, SequenceRecord, TrainedSae
from workers.pipeline.activations import ActivationStream, Place
from workers.pipeline.architectures import ARCHITECTURES, TrainSettings, learning_rate, sae_config, steps, validate
from workers.pipeline.errors import BadInput
from workers.pipeline.language import Language
from workers.pipeline.saes import replace_folder, save_sae

__all__ = ["ARCHITECTURES", "TrainSettings", "latest_checkpoint", "train", "validate"]

RUN = "run.json"
WARM_UP, DECAY = 0.05, 0.3
"""Shares of the steps over which the learning rate rises, and falls to zero."""
CHECKPOINTS_KEPT = 2

Record = Progress | Metrics | LogLine | Checkpoint | TrainedSae


def train(
    language: Language,
    sequences: Callable[[], Iterator[SequenceRecord]],
    settings: TrainSettings,
    folder: str,
    *,
    resume_from: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Record]:
    """Train on the contexts of `sequences()` (a fresh iterator per call) and yield what happens, `TrainedSae` last.

    Checkpoints go to `folder`/checkpoints/<tokens>, the finished SAE to `folder`/sae. When `should_stop()` turns true a
    checkpoint is written and the generator ends without a `TrainedSae`; `resume_from` such a folder goes on exactly there.
    Raises `BadInput` for settings that cannot work, and `BadInput("learning_rate")` where the loss is no longer a number.
    """
    d_in = validate(settings, language)
    yield Progress(0, settings.tokens, "tokens", "reading the corpus")
    run = _Run(language, sequences, settings, d_in, Path(folder), resume_from)
    yield LogLine(run.opening())
    written = run.tokens
    while run.tokens < settings.tokens:
        if should_stop():
            if run.tokens > written or written == 0:
                yield run.checkpoint()
            yield LogLine(f"Stopped after {run.tokens:,} tokens.")
            return
        epoch = run.stream.place.epoch
        metrics = run.step()
        if run.stream.place.epoch > epoch:
            yield LogLine(f"The corpus ended after {run.tokens:,} tokens; it is read again.")
        if metrics:
            yield metrics
            yield run.progress()
        if (
            run.tokens // settings.checkpoint_tokens > written // settings.checkpoint_tokens
            and run.tokens < settings.tokens
        ):
            written = run.tokens
            yield run.checkpoint()
    yield Progress(settings.tokens, settings.tokens, "tokens", "saving")
    yield run.finish()


def latest_checkpoint(folder: str) -> str | None:
    """The newest whole checkpoint in a training folder, or None: what to give as `resume_from`."""
    found = _checkpoints(Path(folder))
    return str(found[-1]) if found else None


class _Run:
    """One training run: SAELens's trainer (weights, optimizer, schedules), the stream, and the clock."""

    def __init__(
        self,
        language: Language,
        sequences: Callable[[], Iterator[SequenceRecord]],
        settings: TrainSettings,
        d_in: int,
        folder: Path,
        resume_from: str | None,
    ) -> None:
        self.settings, self.folder, self.resumed = settings, folder, resume_from
        state = _resumed(resume_from, settings) if resume_from else {}
        self.trainer = _trainer(language, settings, d_in)
        self.seconds = float(state.get("seconds", 0.0))
        place = Place(*state.get("place", Place()))
        self.stream = ActivationStream(language, settings.hook, sequences, settings.batch_tokens, settings.seed, place)
        if resume_from:
            self.trainer.load_trainer_state(resume_from)
            self.trainer.sae.load_weights_from_checkpoint(resume_from)
        else:
            self._start_at(self.stream.block())
        self.latest: dict[str, float] = {}
        self.began, self.began_tokens, self.logged = time.monotonic(), self.tokens, self.tokens

    @property
    def tokens(self) -> int:
        return self.trainer.n_training_samples

    @property
    def scale(self) -> float:
        scale = self.trainer.activation_scaler.scaling_factor
        assert scale is not None
        return scale

    def opening(self) -> str:
        s = self.settings
        start = f"Going on from {self.tokens:,} tokens" if self.resumed else "Training"
        return (
            f"{start}: {s.architecture}, {s.width:,} features on {s.hook}, {s.tokens:,} tokens in batches of {s.batch_tokens:,}, "
            f"learning rate {learning_rate(s):g}, input scale {self.scale:.4g}. "
            f"A feature is dead when it did not fire in the last {s.dead_tokens:,} tokens."
        )

    def step(self) -> Metrics | None:
        """One optimizer step; its metrics where they are due."""
        trainer = self.trainer
        output = trainer.step(next(self.stream))
        trainer.n_frac_active_samples += len(output.sae_in) - self.settings.batch_tokens  # it counts full batches only
        trainer.n_training_steps += 1
        trainer.maybe_reset_sparsity()
        done = self.tokens >= self.settings.tokens
        if self.tokens - self.logged < self.settings.log_tokens and trainer.n_training_steps > 1 and not done:
            return None
        self.logged = self.tokens
        self.latest = self._measure(output)
        if not math.isfinite(self.latest["loss"]):
            raise BadInput(
                "learning_rate",
                f"The loss is no longer a number after {self.tokens:,} tokens; "
                f"use a learning rate below {learning_rate(self.settings):g}.",
            )
        return Metrics(self.tokens, self.latest)

    def progress(self) -> Progress:
        s, m = self.settings, self.latest
        note = f"explained variance {m['explained_variance']:.3f}, {m['tokens_per_second']:,.0f} tokens/s"
        return Progress(min(self.tokens, s.tokens), s.tokens, "tokens", note)

    @torch.no_grad()
    def _measure(self, output: TrainStepOutput) -> dict[str, float]:
        """Metrics of one batch, in the units of the model's activations; `loss` is what the optimizer sees."""
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

    @torch.no_grad()
    def _start_at(self, block: Tensor) -> None:
        """Scale inputs to a mean norm of sqrt(d_in), and start the decoder's bias at their mean."""
        scale = math.sqrt(block.shape[1]) / block.norm(dim=-1).mean().item()
        self.trainer.activation_scaler.scaling_factor = scale
        self.trainer.sae.b_dec.copy_(block.mean(0) * scale)

    def checkpoint(self) -> Checkpoint:
        """Write a checkpoint whole or not at all, and drop all but the last two."""
        target = self.folder / "checkpoints" / f"{self.tokens:012d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        for leftover in target.parent.glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
        self.trainer.save_checkpoint(".", base_path=partial)
        seconds = self.seconds + time.monotonic() - self.began
        state = {"settings": self.settings._asdict(), "place": list(self.stream.place), "seconds": seconds}
        (partial / RUN).write_text(json.dumps(state))
        replace_folder(partial, target)
        for old in _checkpoints(self.folder)[:-CHECKPOINTS_KEPT]:
            shutil.rmtree(old)
        return Checkpoint(self.tokens, str(target))

    @torch.no_grad()
    def finish(self) -> TrainedSae:
        """Fold every scale, save the SAE, and say what was measured."""
        trainer, settings = self.trainer, self.settings
        sae = trainer.sae
        if hasattr(sae, "topk_threshold"):
            sae.topk_threshold.fill_(_batch_threshold(sae, self.stream.block() * self.scale, settings.k))
        trainer.set_final_sae_metadata()
        sae.fold_activation_norm_scaling_factor(self.scale)
        if settings.architecture in ("standard", "gated", "jumprelu"):
            sae.fold_W_dec_norm()
        path = self.folder / "sae"
        digest = save_sae(sae, str(path), trainer.log_feature_sparsity)
        seconds = self.seconds + time.monotonic() - self.began
        metrics = self.latest | {"tokens": float(self.tokens), "seconds": seconds}
        config = settings._asdict() | {"learning_rate": learning_rate(settings)}
        return TrainedSae(
            path=str(path),
            sha256=digest,
            architecture=settings.architecture,
            d_in=sae.cfg.d_in,
            width=settings.width,
            hook=settings.hook,
            context_size=settings.context_size,
            config=config,
            metrics=metrics,
        )


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
    """The activation that on average k features per token exceed: what BatchTopK's inference form uses as its threshold.

    Measured with the final weights on the last block. SAELens's own running mean starts from 0 and lags the weights, which
    leaves far too many features active after a short run.
    """
    thresholds = []
    for part in block.split(batch):
        _, before = sae.encode_with_hidden_pre(part)
        thresholds.append(before.flatten().topk(k * len(part), sorted=False).values.min().clamp(min=0).item())
    return sum(thresholds) / len(thresholds)


def _checkpoints(folder: Path) -> list[Path]:
    parent = folder / "checkpoints"
    return sorted(path for path in parent.iterdir() if path.name.isdigit()) if parent.is_dir() else []


def _resumed(checkpoint: str, settings: TrainSettings) -> dict[str, Any]:
    """What a checkpoint stored; refused where it was made with other settings."""
    try:
        state: dict[str, Any] = json.loads((Path(checkpoint) / RUN).read_text())
    except (OSError, ValueError) as error:
        raise BadInput("resume_from", f"{checkpoint} is not a checkpoint of a training run.") from error
    free = {"checkpoint_tokens", "log_tokens"}
    fixed = {name: value for name, value in settings._asdict().items() if name not in free}
    made_with = TrainSettings._field_defaults | state["settings"]
    differing = [name for name, value in fixed.items() if made_with.get(name) != value]
    if differing:
        raise BadInput("resume_from", f"{checkpoint} was made with another {', '.join(differing)}.")
    return state
