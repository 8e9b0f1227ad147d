"""Jobs that add a language model: its shape, hooks and vocabulary."""

from django.db import transaction

from features import hook_names, redaction
from features.jobs import execution as job_execution
from features.services import catalog as catalog_services
from workers.lifecycle.work import RunningJob
from workers.pipeline.model.language import describe_model, load_language


def add_model(job: RunningJob) -> None:
    source, revision = job.params["source"], job.params.get("revision", "")
    job.log(f"Reading {redaction.of_source(source)}.")
    record = describe_model(load_language(source, revision))
    job.log(f"{len(record.hooks)} hook points hold on a few tokens.")
    for hooks, reason in hook_names.group_by_reason(record.hook_refusals):
        job.log(f"Not offered: {hooks}. {reason}")
    job.raise_if_stopped()
    with transaction.atomic():
        model = catalog_services.add_model(job.params["slug"], source, record)
        job_execution.finish(job.row, {"model": model.slug})
