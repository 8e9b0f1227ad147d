"""Jobs that train SAEs, with checkpoints from which a later job can resume."""

from functools import partial
from pathlib import Path
from typing import Any

from django.db import transaction

from features import artifact_store
from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.jobs import lifecycle, sweeps
from features.models import Corpus, Job, LanguageModel
from features.records import InvalidInput, TrainedSae
from features.services import catalog as catalog_services
from workers import model_cache
from workers.jobs import inputs
from workers.lifecycle import cleanup
from workers.lifecycle.work import RunningJob
from workers.pipeline.training.architectures import TrainSettings
from workers.pipeline.training.train import train, train_sweep

SETTINGS = (
    "hook",
    "architecture",
    "width",
    "k",
    "tokens",
    "context_size",
    "learning_rate",
    "seed",
    "dead_tokens",
    "norm_ratio",
    "first_positions",
)


def train_sae(job: RunningJob) -> None:
    """Train one SAE or a sweep, from the last checkpoint if there is one, and write all rows in one
    transaction.
    """
    model, corpus = inputs.model(job), inputs.corpus(job)
    language = model_cache.load_model(model)
    sweep = {
        slug: settings_of(one, model, corpus)
        for slug, one in sweeps.sweep_of(job.params).saes.items()
    }
    first = next(iter(sweep.values()))
    stream = partial(
        inputs.sequences, language, corpus, first.context_size, False, bos=first.prepend_bos
    )
    options: dict[str, Any] = {"resume_from": _resume(job), "should_stop": job.should_stop}
    if len(sweep) > 1:
        records = train_sweep(language, stream, sweep, str(job.folder), **options)
    else:
        records = train(language, stream, first, str(job.folder), **options)
    trained = {record.name or job.params["slug"]: record for record in job.results(records)}
    artifacts = {slug: _store(model, slug, record) for slug, record in trained.items()}
    with transaction.atomic():
        rows = _add_rows(job, model, corpus, trained, artifacts)
        _update_followers(job.row, [f"{model}/{slug}" for slug in sweep if slug not in trained])
        job_execution.finish(job.row, {"sae": rows[0]} if len(sweep) == 1 else {"saes": rows})
    cleanup.clear()


def settings_of(params: dict[str, Any], model: LanguageModel, corpus: Corpus) -> TrainSettings:
    """The settings of one SAE; ten checkpoints, at most a million tokens apart."""
    bos = {"always": True, "never": False}.get(params.get("bos", "tokenizer"), model.adds_bos)
    given: dict[str, Any] = {
        name: params[name] for name in SETTINGS if params.get(name) is not None
    }
    given["l0_coefficient" if given["architecture"] == "jumprelu" else "l1_coefficient"] = (
        params.get("sparsity")
    )
    every = min(max(params["tokens"] // 10, 10_000), 1_000_000)
    return TrainSettings(**given, prepend_bos=corpus.begins_with_bos(bos), checkpoint_tokens=every)


def _resume(job: RunningJob) -> str | None:
    """The last checkpoint as a local folder. One of another job is first moved to this job."""
    checkpoint = job.row.checkpoint
    if not checkpoint:
        return None
    try:
        folder = artifact_store.get(checkpoint, job.folder / "resume")
    except artifact_store.Missing:
        Job.objects.filter(checkpoint=checkpoint).update(checkpoint="")
        raise InvalidInput(
            "checkpoint", "Its checkpoint is gone. Run it again from the start."
        ) from None
    if not checkpoint.startswith(f"jobs/{job.row.pk}/"):
        name = f"jobs/{job.row.pk}/checkpoints/{checkpoint.rpartition('/')[2]}"
        job_execution.store_checkpoint(job.row, artifact_store.put(folder, name))
        Job.objects.filter(checkpoint=checkpoint).update(checkpoint="")
        artifact_store.remove(checkpoint)
    job.log(f"Resuming from {job.row.checkpoint}.")
    return str(folder)


def _store(model: LanguageModel, slug: str, record: TrainedSae) -> str:
    """Store the weights; return their name in the artifact store."""
    return artifact_store.put(Path(record.path), f"saes/{model.slug}/{slug}-{record.sha256[:12]}")


def _add_rows(
    job: RunningJob,
    model: LanguageModel,
    corpus: Corpus,
    trained: dict[str, TrainedSae],
    artifacts: dict[str, str],
) -> list[str]:
    """Add the rows of the SAEs; return their names, MODEL/SLUG."""
    rows = (
        catalog_services.add_sae(model, slug, record, artifacts[slug], corpus, job.row)
        for slug, record in trained.items()
    )
    return [str(row) for row in rows]


def _update_followers(job: Job, lost: list[str]) -> None:
    """Remove SAEs whose training failed from the jobs that follow, and cancel those left empty."""
    if not lost:
        return
    following = Job.objects.filter(state=Job.State.WAITING, after=job) | Job.objects.filter(
        state=Job.State.WAITING, after__after=job
    )
    for follower in following:
        paths = str(follower.params.get("sae", "")).split()
        left = [path for path in paths if path not in lost]
        if not left:
            lifecycle.cancel(follower.pk)
        elif left != paths:
            Job.objects.filter(pk=follower.pk).update(
                params={**follower.params, "sae": " ".join(left)}
            )
            job_events.log(
                follower.pk, f"Left out, because their training failed: {', '.join(lost)}."
            )
