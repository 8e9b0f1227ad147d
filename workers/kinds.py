"""What each kind of job does: read the rows, run the pipeline, write what it yields, and finish in one transaction."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction

from features import jobs, names
from features.records import Evaluation, TrainedSae
from features.services import catalog as writing
from workers import artifacts, inputs, resident
from workers.dashboards import compute_dashboards
from workers.importing import add_sae
from workers.pipeline import corpora
from workers.pipeline.evaluate import evaluate
from workers.pipeline.language import describe, load_language
from workers.pipeline.train import TrainSettings, train
from workers.running import Work


def add_model(work: Work) -> None:
    """Read a model's shape, hooks and vocabulary."""
    source, revision = work.params["source"], work.params.get("revision", "")
    work.say(f"Reading {names.of_source(source)}.")
    record = describe(load_language(source, revision))
    work.go_on()
    with transaction.atomic():
        model = writing.add_model(work.params["slug"], source, record)
        jobs.finish(work.job, {"model": model.slug})


def add_corpus(work: Work) -> None:
    """Check that a corpus can be read."""
    source, column = work.params["source"], work.params["text_column"]
    work.say(f"Reading {names.of_source(source)}.")
    found = corpora.describe_corpus(source, column)
    if found.chat:
        work.say(f"{column!r} holds conversations: each model reads them through its own chat template.")
    work.go_on()
    cut = {name: work.params[name] for name in ("packing", "bos") if name in work.params}
    with transaction.atomic():
        corpus = writing.add_corpus(
            work.params["slug"], source, column, work.params.get("licence", ""), found.revision, found.note,
            chat=found.chat, **cut,
        )  # fmt: skip
        jobs.finish(work.job, {"corpus": corpus.slug})


def train_sae(work: Work) -> None:
    """Train, from the last checkpoint where there is one."""
    model, corpus = inputs.model(work), inputs.corpus(work)
    language = resident.language(model)
    settings = training_settings(work.params)._replace(prepend_bos=corpus.begins_with_bos(True))
    resume = None
    if work.job.checkpoint:
        resume = str(artifacts.get(work.job.checkpoint, work.folder / "resume"))
        work.say(f"Resuming from {work.job.checkpoint}.")
    stream = partial(inputs.sequences, language, corpus, settings.context_size, False, bos=True)
    records = train(language, stream, settings, str(work.folder), resume_from=resume, should_stop=work.should_stop)
    for record in work.results(records):
        assert isinstance(record, TrainedSae)
        artifact = artifacts.put(record.path, f"saes/{model.slug}/{work.params['slug']}-{record.sha256[:12]}")
        with transaction.atomic():
            sae = writing.add_sae(model, work.params["slug"], record, artifact, corpus, work.job)
            jobs.finish(work.job, {"sae": str(sae)})
        artifacts.remove(f"jobs/{work.job.pk}")


def evaluate_sae(work: Work) -> None:
    """Measure on held-out text."""
    sae, corpus = inputs.sae(work.params["sae"]), inputs.corpus(work)
    language = resident.language(sae.model)
    held_out = inputs.sequences(language, corpus, sae.context_size, True, bos=sae.prepend_bos)
    records = evaluate(language, resident.sae(sae), sae.hook, held_out, work.params["tokens"], work.should_stop)
    for record in work.results(records):
        assert isinstance(record, Evaluation)
        with transaction.atomic():
            writing.keep_evaluation(sae, record, corpus, work.job)
            jobs.finish(work.job, {"sae": str(sae), **record.values})


def training_settings(params: dict[str, Any]) -> TrainSettings:
    """The params of a `train_sae` job as the pipeline takes them; ten checkpoints, at most a million tokens apart."""
    taken = ("hook", "architecture", "width", "k", "tokens", "context_size", "learning_rate", "seed")
    given: dict[str, Any] = {name: params[name] for name in taken if params.get(name) is not None}
    given["l0_coefficient" if given["architecture"] == "jumprelu" else "l1_coefficient"] = params.get("sparsity")
    return TrainSettings(**given, checkpoint_tokens=min(max(params["tokens"] // 10, 10_000), 1_000_000))


RUNNERS: dict[str, Callable[[Work], None]] = {
    "add_model": add_model,
    "add_corpus": add_corpus,
    "train_sae": train_sae,
    "add_sae": add_sae,
    "evaluate_sae": evaluate_sae,
    "compute_dashboards": compute_dashboards,
}
