"""A sweep in training: its SAEs, the stream of activations that they share, and the time spent.

start()         scale the inputs by the first block, or load a checkpoint
step()          advance the stream; every SAE that is not done takes one optimizer step
checkpoint()    save the state of the stream and of every SAE that has not failed
finish()        save every SAE that has not failed
"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from features.records import (
    Checkpoint,
    CountingRule,
    InvalidInput,
    LeftOut,
    LogLine,
    Metrics,
    Progress,
    SequenceRecord,
    TrainedSae,
)
from workers.pipeline.model.counted_tokens import measure_median_norms
from workers.pipeline.model.language import Language
from workers.pipeline.training.activation_stream import (
    START,
    ActivationStream,
    Interrupted,
    StreamPosition,
)
from workers.pipeline.training.architectures import (
    TrainSettings,
    learning_rate,
    validate_settings,
)
from workers.pipeline.training.checkpoints import load_state, save_checkpoint
from workers.pipeline.training.sae_trainer import SaeTrainer

SHARED_SETTINGS = (
    "tokens",
    "context_size",
    "prepend_bos",
    "norm_ratio",
    "first_positions",
    "batch_tokens",
    "checkpoint_tokens",
    "log_tokens",
)
"""Settings of the stream, which all SAEs of a sweep have in common."""


class Sweep:
    """SAEs that train on one stream. `settings` are by name; `shared` are those of any of them."""

    def __init__(
        self,
        language: Language,
        sequences: Callable[[], Iterator[SequenceRecord]],
        settings: Mapping[str, TrainSettings],
        folder: Path,
        resume_from: str | None,
        should_stop: Callable[[], bool],
    ) -> None:
        self.folder, self.resume_from = folder, resume_from
        widths = {name: validate_settings(values, language) for name, values in settings.items()}
        self.shared = shared_settings(settings)
        self.state = load_state(resume_from, settings) if resume_from else {}
        self.trainers = [
            SaeTrainer(name, language, values, widths[name]) for name, values in settings.items()
        ]
        self.language, self.sequences, self.should_stop = language, sequences, should_stop
        self.hooks = list(dict.fromkeys(values.hook for values in settings.values()))
        self.stream: ActivationStream
        self._start_time = time.monotonic()

    @property
    def done(self) -> bool:
        """Whether no SAE needs a further batch."""
        return all(trainer.done for trainer in self.trainers)

    @property
    def tokens(self) -> int:
        """Tokens that every SAE which has not failed was trained on."""
        counts = [trainer.tokens for trainer in self._healthy()]
        return min(counts, default=self.shared.tokens)

    def first_log_line(self) -> LogLine:
        """Describe what is trained."""
        shared = self.shared
        start = f"Resuming at {self.tokens:,} tokens" if self.resume_from else "Training"
        tokens = f"{shared.tokens:,} tokens in batches of {shared.batch_tokens:,}"
        dead = f"A feature is dead when it did not fire in the last {shared.dead_tokens:,} tokens."
        if len(self.trainers) > 1:
            hooks = ", ".join(self.hooks)
            sae = f"{len(self.trainers)} SAEs from one forward pass that reads {hooks}; {tokens}"
        else:
            sae = (
                f"{shared.architecture}, {shared.width:,} features on {shared.hook}, {tokens}, "
                f"learning rate {learning_rate(shared):g}, "
                f"input scale {self.trainers[0].scale:.4g}"
            )
        return LogLine(f"{start}: {sae}. {dead}")

    def start(self) -> None:
        """Load the checkpoint, or collect the first block and scale the inputs by it.

        Raises `Interrupted` if `should_stop` returns true meanwhile.
        """
        self.stream = ActivationStream(
            self.language,
            self._rules(),
            self.sequences,
            self.shared.batch_tokens,
            StreamPosition(*self.state.get("position", START)),
            self.should_stop,
        )
        for hook, counts in self.state.get("left_out", {}).items():
            self.stream.left_out[hook] = LeftOut(*counts)
        for trainer in self.trainers:
            if self.resume_from:
                self._resume(trainer, Path(self.resume_from))
            else:
                trainer.set_initial_scale(self._block(trainer))
        self._start_time = time.monotonic()

    def step(self) -> Iterator[Metrics | LogLine | Progress]:
        """Train every SAE that is not done on its next batch."""
        epoch, has_metrics = self.stream.position.epoch, False
        self.stream.advance()
        for trainer in self.trainers:
            if trainer.done:
                continue
            batch = self.stream.batch(trainer.settings.hook, trainer.settings.seed)
            if batch is None:
                continue
            metrics = trainer.step(batch)
            if metrics:
                has_metrics = True
                yield metrics
            if trainer.failure:
                yield self._leave_out(trainer)
            elif trainer.done:
                trainer.set_threshold(self._block(trainer))
        if self.stream.position.epoch > epoch:
            yield LogLine(f"The corpus ended after {self.tokens:,} tokens; it is read again.")
        if has_metrics:
            yield self._progress()

    def checkpoint(self) -> Iterator[LogLine | Checkpoint]:
        """Save a checkpoint. SAEs that have failed are not part of it."""
        for trainer in self._healthy():
            if not trainer.check_loss():
                yield self._leave_out(trainer)
        target = save_checkpoint(self.folder, self.tokens, self._healthy(), self._state())
        yield Checkpoint(self.tokens, str(target))

    def finish(self) -> Iterator[TrainedSae]:
        """Save every SAE that has not failed."""
        seconds, left_out = self._elapsed(), self.stream.left_out_so_far()
        for trainer in self._healthy():
            hook = trainer.settings.hook
            yield trainer.finish(
                self.folder / "sae" / trainer.name, seconds, self.stream.rules[hook], left_out[hook]
            )

    def _rules(self) -> dict[str, CountingRule]:
        """Which tokens count at each hook, by the median norm of the first tokens of the corpus."""
        ratio, first_positions = self.shared.norm_ratio, self.shared.first_positions
        medians: dict[str, float] = self.state.get("median_norms", {})
        if not medians and ratio:
            medians = measure_median_norms(
                self.language, self.hooks, self.sequences(), self.should_stop
            )
            if not medians:
                raise Interrupted
        return {
            hook: CountingRule(ratio, medians.get(hook, 0.0), first_positions)
            for hook in self.hooks
        }

    def _block(self, trainer: SaeTrainer) -> Float[Tensor, "tokens d_in"]:
        return self.stream.block(trainer.settings.hook, trainer.settings.seed)

    def _healthy(self) -> list[SaeTrainer]:
        return [trainer for trainer in self.trainers if not trainer.failure]

    def _leave_out(self, trainer: SaeTrainer) -> LogLine:
        """Continue without an SAE that has failed. Raises `InvalidInput` if no other is left."""
        if not self._healthy():
            raise InvalidInput("learning_rate", trainer.failure)
        return LogLine(f"{trainer.name} is left out of the sweep. {trainer.failure}")

    def _progress(self) -> Progress:
        latest = [trainer.latest for trainer in self._healthy() if trainer.latest]
        variances = [metrics["explained_variance"] for metrics in latest]
        variance = f"{min(variances):.3f}"
        if len(variances) > 1:
            variance += f" to {max(variances):.3f}"
        speed = min(metrics["tokens_per_second"] for metrics in latest)
        note = f"explained variance {variance}, {speed:,.0f} tokens/s"
        return Progress(min(self.tokens, self.shared.tokens), self.shared.tokens, "tokens", note)

    def _state(self) -> dict[str, Any]:
        return {
            "settings": {trainer.name: trainer.settings._asdict() for trainer in self.trainers},
            "position": list(self.stream.position),
            "left_out": self.stream.left_out,
            "median_norms": {hook: rule.median_norm for hook, rule in self.stream.rules.items()},
            "seconds": self._elapsed(),
            "failures": {
                trainer.name: trainer.failure for trainer in self.trainers if trainer.failure
            },
            "thresholds": {
                trainer.name: trainer.threshold
                for trainer in self.trainers
                if trainer.threshold is not None
            },
        }

    def _resume(self, trainer: SaeTrainer, checkpoint: Path) -> None:
        trainer.failure = self.state["failures"].get(trainer.name, "")
        trainer.threshold = self.state["thresholds"].get(trainer.name)
        if not trainer.failure:
            trainer.resume(checkpoint / trainer.name)

    def _elapsed(self) -> float:
        return float(self.state.get("seconds", 0.0)) + time.monotonic() - self._start_time


def shared_settings(settings: Mapping[str, TrainSettings]) -> TrainSettings:
    """Return the settings of the first SAE, whose `SHARED_SETTINGS` hold for all.

    Raises `InvalidInput` with the name of the first of these settings that differs between SAEs.
    """
    first, *others = settings.values()
    for field in SHARED_SETTINGS:
        if any(getattr(other, field) != getattr(first, field) for other in others):
            message = f"The SAEs of a sweep share one forward pass, so they share {field}."
            raise InvalidInput(field, message)
    return first
