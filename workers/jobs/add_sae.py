"""Importing an SAE: from its source to its row, with the weights among our artifacts."""

from collections.abc import Iterator
from pathlib import Path

from django.db import transaction

from features import artifact_store, redaction, sae_sources
from features.jobs import lifecycle
from features.models import Corpus, LanguageModel
from features.records import ImportedSae, LogLine, Progress, SequenceRecord
from features.services import catalog as catalog_services
from workers import model_cache
from workers.jobs import inputs
from workers.lifecycle.runner import Stopped, Work
from workers.pipeline.data import corpora
from workers.pipeline.errors import BadInput
from workers.pipeline.sae import converters
from workers.pipeline.sae.import_checks import import_sae


def add_sae(work: Work) -> None:
    """Fetch, check and test an SAE; its row is written when all of that went well, with the
    warnings of the test.
    """
    model, corpus, folder = inputs.model(work), _corpus(work), work.folder / "sae"
    (brought,) = work.results(_bring(work, folder))
    language = model_cache.language(model)

    def contexts(size: int, bos: bool) -> Iterator[SequenceRecord]:
        return inputs.sequences(language, corpus, size, False, bos=bos)

    hook, anyway = work.params.get("hook", ""), work.params.get("anyway", False)
    known_as = {model.slug, redaction.of_source(model.source)}
    records = import_sae(
        language, known_as, brought, folder, hook, contexts, corpus.slug, anyway, work.should_stop
    )
    for record in work.results(records):
        assert isinstance(record, ImportedSae)
        _keep(work, model, record)


def _bring(work: Work, folder: Path) -> Iterator[Progress | LogLine | converters.Brought]:
    """The files of the source in `folder`; the last thing yielded says what they are."""
    source, params = _source(work.params["source"]), work.params
    revision, subfolder = params.get("revision", ""), params.get("subfolder", "")
    work.say(f"Fetching {redaction.of_source(source.place)}.")
    if source.kind == "folder":
        brought: converters.Brought | None = converters.from_folder(source.place, folder)
    elif source.kind == "hub":
        brought = yield from converters.from_hub(
            source.place, subfolder, revision, folder, work.should_stop
        )
    else:
        brought = yield from converters.from_registry(
            source.place, revision, folder, work.should_stop
        )
    if brought is None:
        raise Stopped
    yield brought


def _keep(work: Work, model: LanguageModel, record: ImportedSae) -> None:
    made, slug = record.sae, work.params["slug"]
    values, warnings = record.origin["test"]["values"], record.origin["warnings"]  # type: ignore[index]
    work.go_on()
    artifact = artifact_store.put(made.path, f"saes/{model.slug}/{slug}-{made.sha256[:12]}")
    with transaction.atomic():
        sae = catalog_services.add_sae(model, slug, made, artifact, None, work.job, record.origin)
        result = {name: values[name] for name in ("explained_variance", "l0") if name in values}
        lifecycle.finish(work.job, {"sae": str(sae), **result, "warnings": warnings})


def _source(text: str) -> sae_sources.Source:
    try:
        return sae_sources.read(text)
    except LookupError as error:
        raise BadInput("source", str(error.args[0])) from error


def _corpus(work: Work) -> Corpus:
    """The corpus of the job; where there is none at all, the standard library, which
    needs no row.
    """
    if (
        work.params["corpus"] == corpora.STDLIB
        and not Corpus.objects.filter(slug=corpora.STDLIB).exists()
    ):
        return Corpus(slug=corpora.STDLIB, source=corpora.STDLIB)
    return inputs.corpus(work)
