"""Jobs that add a corpus: check that it can be read, and write its row."""

from django.db import transaction

from features import redaction
from features.jobs import execution as job_execution
from features.services import catalog as catalog_services
from workers.lifecycle.work import RunningJob
from workers.pipeline.data import corpora


def add_corpus(job: RunningJob) -> None:
    source, column = job.params["source"], job.params["text_column"]
    job.log(f"Reading {redaction.of_source(source)}.")
    description = corpora.describe_corpus(source, column)
    if description.chat:
        job.log(
            f"{column!r} holds conversations: each model reads them through its own chat template."
        )
    job.raise_if_stopped()
    cut = {name: job.params[name] for name in ("packing", "bos") if name in job.params}
    with transaction.atomic():
        corpus = catalog_services.add_corpus(
            job.params["slug"],
            source,
            column,
            job.params.get("licence", ""),
            description.revision,
            description.note,
            chat=description.chat,
            **cut,
        )
        job_execution.finish(job.row, {"corpus": corpus.slug})
