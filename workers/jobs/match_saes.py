"""Jobs that match the features of two SAEs."""

from django.db import transaction

from features.ingest import matches as match_ingest
from features.jobs import execution as job_execution
from features.records import InvalidInput, SaeMatches
from workers import model_cache
from workers.jobs import inputs
from workers.lifecycle.work import RunningJob
from workers.pipeline.sae.matching import match_features


def match_saes(job: RunningJob) -> None:
    """Match every feature of each SAE with the nearest feature of the other."""
    sae = inputs.sae(job.params["sae"])
    try:
        other = inputs.sae(job.params["other"])
    except InvalidInput as error:
        raise InvalidInput("other", error.message) from None
    decoder, others = (model_cache.load_sae(row).W_dec.detach() for row in (sae, other))
    for record in job.results(match_features(decoder, others, job.should_stop)):
        assert isinstance(record, SaeMatches)
        with transaction.atomic():
            there, back = match_ingest.write(sae, other, record, job.row)
            counts = {"matched": there.matched, "matched_back": back.matched}
            job_execution.finish(job.row, {"sae": str(sae), "other": str(other), **counts})
