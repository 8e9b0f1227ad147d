"""Jobs that evaluate the reconstruction of an SAE on held-out text."""

from django.db import transaction

from features.jobs import execution as job_execution
from features.records import Evaluation
from features.services import catalog as catalog_services
from workers import model_cache
from workers.jobs import inputs
from workers.lifecycle.work import RunningJob
from workers.pipeline.sae.evaluate import evaluate


def evaluate_sae(job: RunningJob) -> None:
    sae, corpus = inputs.sae(job.params["sae"]), inputs.corpus(job)
    language = model_cache.load_model(sae.model)
    held_out = inputs.sequences(language, corpus, sae.context_size, True, bos=sae.prepend_bos)
    records = evaluate(
        language,
        model_cache.load_sae(sae),
        sae.hook,
        held_out,
        job.params["tokens"],
        job.should_stop,
        inputs.rule(job, sae, language, corpus),
    )
    for record in job.results(records):
        assert isinstance(record, Evaluation)
        with transaction.atomic():
            catalog_services.keep_evaluation(sae, record, corpus, job.row)
            job_execution.finish(job.row, {"sae": str(sae), **record.values})
