"""Jobs that import an SAE: fetch it, test it, store its weights and add its row."""

from collections.abc import Iterator
from pathlib import Path

from django.db import transaction

from features import artifact_store, redaction, sae_sources
from features.jobs import execution as job_execution
from features.models import Corpus, LanguageModel
from features.records import ImportedSae, InvalidInput, LogLine, Progress, SequenceRecord
from features.services import catalog as catalog_services
from workers import model_cache
from workers.jobs import inputs
from workers.lifecycle.work import RunningJob, Stopped
from workers.pipeline.data import corpora
from workers.pipeline.sae import sources
from workers.pipeline.sae.import_checks import EvaluationCorpus, import_sae

RULE_SETTINGS = ("norm_ratio", "first_positions")


def add_sae(job: RunningJob) -> None:
    model, corpus, folder = inputs.model(job), _corpus(job), job.folder / "sae"
    (fetched,) = job.results(_fetch(job, folder))
    language = model_cache.load_model(model)

    def contexts(size: int, bos: bool) -> Iterator[SequenceRecord]:
        return inputs.sequences(language, corpus, size, False, bos=bos)

    hook, anyway = job.params.get("hook", ""), job.params.get("anyway", False)
    model_names = {model.slug, redaction.of_source(model.source)}
    evaluation_corpus = EvaluationCorpus(corpus.slug, contexts)
    records = import_sae(
        language,
        model_names,
        fetched,
        folder,
        hook,
        evaluation_corpus,
        anyway,
        job.should_stop,
        {name: job.params[name] for name in RULE_SETTINGS if job.params.get(name) is not None},
    )
    for record in job.results(records):
        assert isinstance(record, ImportedSae)
        _add(job, model, record)


def _fetch(job: RunningJob, folder: Path) -> Iterator[Progress | LogLine | sources.FetchedSae]:
    """Write the files of the source to `folder`; the last record describes them."""
    source, params = _source(job.params["source"]), job.params
    revision, subfolder = params.get("revision", ""), params.get("subfolder", "")
    job.log(f"Fetching {redaction.of_source(source.place)}.")
    if source.kind == "folder":
        fetched: sources.FetchedSae | None = sources.copy_from_folder(source.place, folder)
    elif source.kind == "hub":
        fetched = yield from sources.download_from_hub(
            source.place, subfolder, revision, folder, job.should_stop
        )
    else:
        fetched = yield from sources.download_from_registry(
            source.place, revision, folder, job.should_stop
        )
    if fetched is None:
        raise Stopped
    yield fetched


def _add(job: RunningJob, model: LanguageModel, record: ImportedSae) -> None:
    trained, slug = record.sae, job.params["slug"]
    values, warnings = record.origin["test"]["values"], record.origin["warnings"]  # type: ignore[index]
    job.raise_if_stopped()
    artifact = artifact_store.put(trained.path, f"saes/{model.slug}/{slug}-{trained.sha256[:12]}")
    with transaction.atomic():
        sae = catalog_services.add_sae(model, slug, trained, artifact, None, job.row, record.origin)
        result = {name: values[name] for name in ("explained_variance", "l0") if name in values}
        job_execution.finish(job.row, {"sae": str(sae), **result, "warnings": warnings})


def _source(text: str) -> sae_sources.Source:
    try:
        return sae_sources.parse_source(text)
    except LookupError as error:
        raise InvalidInput("source", str(error.args[0])) from error


def _corpus(job: RunningJob) -> Corpus:
    """The corpus of the job. Where it is the standard library and has no row, one that is not
    saved.
    """
    if (
        job.params["corpus"] == corpora.STDLIB
        and not Corpus.objects.filter(slug=corpora.STDLIB).exists()
    ):
        return Corpus(slug=corpora.STDLIB, source=corpora.STDLIB)
    return inputs.corpus(job)
