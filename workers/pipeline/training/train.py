"""Train SAEs: our own loop around SAELens's trainer, with live metrics, checkpoints and exact
resume.

    x = activation * scale          scale = sqrt(d_in) / mean norm, measured on the first block
    loss = |x - decode(encode(x))|^2 + the architecture's sparsity loss
    optimizer                       Adam, linear warm-up, linear decay at the end
    finish                          fold the scale (and decoder norms) into the weights; save in
                                    SAELens's format

The SAEs of a sweep share the forward pass of the model and nothing else: each ends with the same
weights as if it were trained alone. SAELens's own runner is not used, because it reports metrics
only to W&B, loses the run on SIGTERM and does not resume exactly.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from features.records import Checkpoint, LogLine, Metrics, Progress, SequenceRecord, TrainedSae
from workers.pipeline.model.language import Language
from workers.pipeline.training.activation_stream import Interrupted
from workers.pipeline.training.architectures import TrainSettings
from workers.pipeline.training.sweep import Sweep

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
    """Train one SAE: a sweep of one SAE with an empty name (see `train_sweep`)."""
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
    """Train SAEs with `settings` by name on the contexts of `sequences()`.

    Yields progress, metrics, log lines and checkpoints as they come, and at the end one
    `TrainedSae` per SAE. SAEs are saved in `folder`/sae/NAME, checkpoints in
    `folder`/checkpoints/TOKENS. `sequences` returns a fresh iterator on every call.

    When `should_stop()` returns true, a checkpoint is written and the generator ends without
    `TrainedSae` records. `resume_from`, the folder of a checkpoint, continues exactly there.

    An SAE whose loss is NaN or infinite is left out, which a log line reports. If no SAE is left,
    `InvalidInput("learning_rate")` is raised. Settings that cannot work raise `InvalidInput` with
    the name of the setting before anything is written.
    """
    sweep = Sweep(language, sequences, settings, Path(folder), resume_from, should_stop)
    total, checkpoint_tokens = sweep.shared.tokens, sweep.shared.checkpoint_tokens
    yield Progress(0, total, "tokens", "reading the corpus")
    try:
        sweep.start()
    except Interrupted:
        yield LogLine("Stopped before the first step.")
        return
    yield sweep.first_log_line()
    saved_tokens = sweep.tokens
    try:
        while not sweep.done:
            if should_stop():
                raise Interrupted
            yield from sweep.step()
            due = sweep.tokens // checkpoint_tokens > saved_tokens // checkpoint_tokens
            if due and sweep.tokens < total:
                yield from sweep.checkpoint()
                saved_tokens = sweep.tokens
    except Interrupted:
        if sweep.tokens > saved_tokens or saved_tokens == 0:
            yield from sweep.checkpoint()
        yield LogLine(f"Stopped after {sweep.tokens:,} tokens.")
        return
    yield Progress(total, total, "tokens", "saving")
    yield from sweep.finish()
