"""Train SAEs: our own loop around SAELens's trainer, with live metrics, checkpoints, and an exact
resume.

    x = activation * scale                      scale = sqrt(d_in) / mean norm, from the first block
    loss = |x - decode(encode(x))|^2 + what the architecture adds;   Adam, warm-up, linear decay at
    the end at the end: fold the scale (and decoder norms) into the weights, save in SAELens's
    format

Several SAEs of one sweep share the forward pass of the model and nothing else: each ends as it
would alone, with the same weights. SAELens's own runner is not used: it shows no metrics without
W&B, loses a run on SIGTERM, and resumes inexactly.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from features.records import Checkpoint, LogLine, Metrics, Progress, SequenceRecord, TrainedSae
from workers.pipeline.errors import BadInput
from workers.pipeline.model.language import Language
from workers.pipeline.sae.io import replace_folder
from workers.pipeline.training.activation_stream import ActivationStream, Interrupted, Place
from workers.pipeline.training.architectures import (
    ARCHITECTURES,
    TrainSettings,
    learning_rate,
    validate,
)
from workers.pipeline.training.sae_trainer import Lane

__all__ = [
    "ARCHITECTURES",
    "TrainSettings",
    "latest_checkpoint",
    "train",
    "train_sweep",
    "validate",
]

RUN = "run.json"
CHECKPOINTS_KEPT = 2
SHARED = (
    "tokens",
    "context_size",
    "prepend_bos",
    "batch_tokens",
    "checkpoint_tokens",
    "log_tokens",
)
"""Settings that all SAEs of a sweep have in common: those of the stream that they share."""

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
    """Train one SAE: a sweep of one without a name (see `train_sweep`)."""
    return train_sweep(
        language,
        sequences,
        {"": settings},
        folder,
        resume_from=resume_from,
        should_stop=should_stop,
    )


def train_sweep(
    language: Language,
    sequences: Callable[[], Iterator[SequenceRecord]],
    settings: Mapping[str, TrainSettings],
    folder: str,
    *,
    resume_from: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Record]:
    """Train SAEs by name on the contexts of `sequences()` (a fresh iterator per call) and yield
    what happens.

    One `TrainedSae` each comes last; their folders are `folder`/sae/<name>, checkpoints
    `folder`/checkpoints/<tokens>. When `should_stop()` turns true a checkpoint is written and the
    generator ends without them; `resume_from` such a folder goes on exactly there. An SAE whose
    loss is no longer a number is left out, which the log says; `BadInput("learning_rate")` where
    none is left. Raises `BadInput` for settings that cannot work.
    """
    widths = {name: validate(one, language) for name, one in settings.items()}
    shared = _shared(settings)
    yield Progress(0, shared.tokens, "tokens", "reading the corpus")
    try:
        run = _Run(language, sequences, settings, widths, Path(folder), resume_from, should_stop)
    except Interrupted:
        yield LogLine("Stopped before the first step.")
        return
    yield LogLine(run.opening())
    written = run.tokens
    try:
        while not run.over:
            if should_stop():
                raise Interrupted
            yield from run.round()
            if (
                run.tokens // shared.checkpoint_tokens > written // shared.checkpoint_tokens
                and run.tokens < shared.tokens
            ):
                yield from run.checkpoint()
                written = run.tokens
    except Interrupted:
        if run.tokens > written or written == 0:
            yield from run.checkpoint()
        yield LogLine(f"Stopped after {run.tokens:,} tokens.")
        return
    yield Progress(shared.tokens, shared.tokens, "tokens", "saving")
    yield from run.finish()


def latest_checkpoint(folder: str) -> str | None:
    """The newest whole checkpoint in a training folder, or None: what to give as `resume_from`."""
    found = _checkpoints(Path(folder))
    return str(found[-1]) if found else None


class _Run:
    """A sweep: its SAEs, the stream that they share, and the clock."""

    def __init__(
        self,
        language: Language,
        sequences: Callable[[], Iterator[SequenceRecord]],
        settings: Mapping[str, TrainSettings],
        widths: Mapping[str, int],
        folder: Path,
        resume_from: str | None,
        should_stop: Callable[[], bool],
    ) -> None:
        self.folder, self.resumed, self.shared = folder, resume_from, _shared(settings)
        state = _resumed(resume_from, settings) if resume_from else {}
        self.lanes = [Lane(name, language, one, widths[name]) for name, one in settings.items()]
        self.seconds = float(state.get("seconds", 0.0))
        self.stream = ActivationStream(
            language, [one.hook for one in settings.values()], sequences, self.shared.batch_tokens,
            Place(*state.get("place", Place())), should_stop,
        )  # fmt: skip
        for lane in self.lanes:
            lane.lost = state.get("lost", {}).get(lane.name, "")
            lane.threshold = state.get("thresholds", {}).get(lane.name)
            if resume_from and not lane.lost:
                lane.resume(Path(resume_from, lane.name))
            elif not resume_from:
                lane.start_at(self.stream.block(lane.settings.hook, lane.settings.seed))
        self.began = time.monotonic()

    @property
    def over(self) -> bool:
        return all(lane.over for lane in self.lanes)

    @property
    def tokens(self) -> int:
        """Tokens that the SAE which is furthest behind has seen; a lost one counts for nothing."""
        return min(
            (lane.tokens for lane in self.lanes if not lane.lost), default=self.shared.tokens
        )

    def opening(self) -> str:
        s, first = self.shared, self.lanes[0]
        start = f"Going on from {self.tokens:,} tokens" if self.resumed else "Training"
        dead = f"A feature is dead when it did not fire in the last {s.dead_tokens:,} tokens."
        if len(self.lanes) > 1:
            hooks = ", ".join(self.stream.hooks)
            return (
                f"{start}: {len(self.lanes)} SAEs from one forward pass that reads {hooks}; "
                f"{s.tokens:,} tokens in batches "
                f"of {s.batch_tokens:,}. {dead}"
            )
        return (
            f"{start}: {s.architecture}, {s.width:,} features on {s.hook}, {s.tokens:,} tokens "
            f"in batches of {s.batch_tokens:,}, "
            f"learning rate {learning_rate(s):g}, input scale {first.scale:.4g}. {dead}"
        )

    def round(self) -> Iterator[Record]:
        """One step of every SAE that is not over, and what is to be told of it."""
        epoch, told = self.stream.place.epoch, False
        self.stream.advance()
        for lane in self.lanes:
            batch = None if lane.over else self.stream.batch(lane.settings.hook, lane.settings.seed)
            if batch is None:
                continue
            metrics = lane.step(batch)
            if lane.lost:
                yield from self._give_up(lane)
            if metrics:
                told = True
                yield metrics
            if lane.over and not lane.lost:
                lane.settle(self.stream.block(lane.settings.hook, lane.settings.seed))
        if self.stream.place.epoch > epoch:
            yield LogLine(f"The corpus ended after {self.tokens:,} tokens; it is read again.")
        if told:
            yield self._progress()

    def checkpoint(self) -> Iterator[Record]:
        """Write a checkpoint whole or not at all, and drop all but the last two. What is lost by
        now is not kept.
        """
        for lane in self.lanes:
            if not lane.lost and not lane.sound():
                yield from self._give_up(lane)
        target = self.folder / "checkpoints" / f"{self.tokens:012d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        for leftover in target.parent.glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
        for lane in self.lanes:
            if not lane.lost:
                lane.trainer.save_checkpoint(lane.name or ".", base_path=partial)
        (partial / RUN).write_text(json.dumps(self._state()))
        replace_folder(partial, target)
        for old in _checkpoints(self.folder)[:-CHECKPOINTS_KEPT]:
            shutil.rmtree(old)
        yield Checkpoint(self.tokens, str(target))

    def finish(self) -> Iterator[Record]:
        """Every SAE that is not lost."""
        seconds = self._elapsed()
        for lane in self.lanes:
            if not lane.lost:
                yield lane.finish(self.folder / "sae" / lane.name, seconds)

    def _give_up(self, lane: Lane) -> Iterator[Record]:
        """Go on without an SAE that came to nothing, unless it was the last."""
        if all(other.lost for other in self.lanes):
            raise BadInput("learning_rate", lane.lost)
        yield LogLine(f"{lane.name} is left out of the sweep. {lane.lost}")

    def _progress(self) -> Progress:
        known = [lane.latest for lane in self.lanes if lane.latest and not lane.lost]
        least, most = (end(m["explained_variance"] for m in known) for end in (min, max))
        variance = f"{least:.3f}" if len(known) == 1 else f"{least:.3f} to {most:.3f}"
        speed = min(m["tokens_per_second"] for m in known)
        note = f"explained variance {variance}, {speed:,.0f} tokens/s"
        return Progress(min(self.tokens, self.shared.tokens), self.shared.tokens, "tokens", note)

    def _state(self) -> dict[str, Any]:
        return {
            "settings": {lane.name: lane.settings._asdict() for lane in self.lanes},
            "place": list(self.stream.place),
            "seconds": self._elapsed(),
            "lost": {lane.name: lane.lost for lane in self.lanes if lane.lost},
            "thresholds": {
                lane.name: lane.threshold for lane in self.lanes if lane.threshold is not None
            },
        }

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.began


def _shared(settings: Mapping[str, TrainSettings]) -> TrainSettings:
    """The settings of any of them, once they agree on what they share. Raises `BadInput` naming
    what differs.
    """
    first, *others = settings.values()
    for field in SHARED:
        if any(getattr(other, field) != getattr(first, field) for other in others):
            raise BadInput(
                field, f"The SAEs of a sweep share one forward pass, so they share {field}."
            )
    return first


def _checkpoints(folder: Path) -> list[Path]:
    parent = folder / "checkpoints"
    return (
        sorted(path for path in parent.iterdir() if path.name.isdigit()) if parent.is_dir() else []
    )


def _resumed(checkpoint: str, settings: Mapping[str, TrainSettings]) -> dict[str, Any]:
    """What a checkpoint stored; refused where it was made with other settings."""
    try:
        state: dict[str, Any] = json.loads((Path(checkpoint) / RUN).read_text())
        made = {
            name: TrainSettings._field_defaults | one for name, one in state["settings"].items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "resume_from", f"{checkpoint} is not a checkpoint of a training run."
        ) from error
    if set(made) != set(settings):
        raise BadInput(
            "resume_from", f"{checkpoint} was made with other SAEs: {', '.join(sorted(made))}."
        )
    free = {"checkpoint_tokens", "log_tokens"}
    differing = sorted(
        {
            name
            for which, one in settings.items()
            for name, value in one._asdict().items()
            if name not in free and made[which].get(name) != value
        }
    )
    if differing:
        raise BadInput("resume_from", f"{checkpoint} was made with another {', '.join(differing)}.")
    return state
