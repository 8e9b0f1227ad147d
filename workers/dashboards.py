"""The dashboards of an SAE, from its job's row to the rows of its features."""

from django.db import transaction

from features import ingest, jobs
from features.records import FeatureRange
from features.version import VERSION
from workers import inputs, resident
from workers.pipeline.dashboards import dashboards
from workers.running import Work


def compute_dashboards(work: Work) -> None:
    """Fill the features of an SAE, and declare them complete at the end."""
    sae, corpus = inputs.sae(work.params["sae"]), inputs.corpus(work)
    language = resident.language(sae.model)
    contexts = inputs.sequences(language, corpus, sae.context_size, False, bos=sae.prepend_bos)
    wanted = work.params["tokens"]
    records = dashboards(language, resident.sae(sae), sae.hook, contexts, wanted, should_stop=work.should_stop)
    examples = counted = 0
    for record in work.results(records):
        assert isinstance(record, FeatureRange)
        counted = record.tokens
        examples += ingest.write_range(sae, corpus, sae.context_size, record)
    with transaction.atomic():
        shown = ingest.finish(sae, corpus, counted, work.job, VERSION)
        work.say(f"{shown.alive:,} of {sae.width:,} features fired; {examples:,} examples kept.")
        jobs.finish(work.job, {"sae": str(sae), "alive": shown.alive, "tokens": counted})
