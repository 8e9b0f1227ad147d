"""What each kind of job does: read the rows, run the pipeline, write what it yields, and finish in
one transaction.
"""

from collections.abc import Callable

from django.db import transaction

from features import redaction
from features.jobs import lifecycle
from features.records import Evaluation
from features.services import catalog as catalog_services
from workers import model_cache
from workers.jobs import inputs
from workers.jobs.add_sae import add_sae
from workers.jobs.collect_garbage import collect_garbage
from workers.jobs.compute_dashboards import compute_dashboards, scan_shard
from workers.jobs.embed_labels import embed_labels
from workers.jobs.explain_sae import explain_sae, score_labels
from workers.jobs.judge_sweep import judge_sweep
from workers.jobs.label_sae import label_sae
from workers.jobs.map_sae import map_sae
from workers.jobs.match_saes import match_saes
from workers.jobs.score_causes import score_causes
from workers.jobs.train_sae import train_sae
from workers.lifecycle.runner import Work
from workers.pipeline.data import corpora
from workers.pipeline.model.language import describe, load_language
from workers.pipeline.sae.evaluate import evaluate


def add_model(work: Work) -> None:
    """Read a model's shape, hooks and vocabulary."""
    source, revision = work.params["source"], work.params.get("revision", "")
    work.say(f"Reading {redaction.of_source(source)}.")
    record = describe(load_language(source, revision))
    work.go_on()
    with transaction.atomic():
        model = catalog_services.add_model(work.params["slug"], source, record)
        lifecycle.finish(work.job, {"model": model.slug})


def add_corpus(work: Work) -> None:
    """Check that a corpus can be read."""
    source, column = work.params["source"], work.params["text_column"]
    work.say(f"Reading {redaction.of_source(source)}.")
    found = corpora.describe_corpus(source, column)
    if found.chat:
        work.say(
            f"{column!r} holds conversations: each model reads them through its own chat template."
        )
    work.go_on()
    cut = {name: work.params[name] for name in ("packing", "bos") if name in work.params}
    with transaction.atomic():
        corpus = catalog_services.add_corpus(
            work.params["slug"],
            source,
            column,
            work.params.get("licence", ""),
            found.revision,
            found.note,
            chat=found.chat,
            **cut,
        )
        lifecycle.finish(work.job, {"corpus": corpus.slug})


def evaluate_sae(work: Work) -> None:
    """Measure on held-out text."""
    sae, corpus = inputs.sae(work.params["sae"]), inputs.corpus(work)
    language = model_cache.language(sae.model)
    held_out = inputs.sequences(language, corpus, sae.context_size, True, bos=sae.prepend_bos)
    records = evaluate(
        language, model_cache.sae(sae), sae.hook, held_out, work.params["tokens"], work.should_stop
    )
    for record in work.results(records):
        assert isinstance(record, Evaluation)
        with transaction.atomic():
            catalog_services.keep_evaluation(sae, record, corpus, work.job)
            lifecycle.finish(work.job, {"sae": str(sae), **record.values})


RUNNERS: dict[str, Callable[[Work], None]] = {
    "add_model": add_model,
    "add_corpus": add_corpus,
    "train_sae": train_sae,
    "add_sae": add_sae,
    "evaluate_sae": evaluate_sae,
    "compute_dashboards": compute_dashboards,
    "scan_shard": scan_shard,
    "map_sae": map_sae,
    "label_sae": label_sae,
    "explain_sae": explain_sae,
    "score_labels": score_labels,
    "judge_sweep": judge_sweep,
    "match_saes": match_saes,
    "score_causes": score_causes,
    "embed_labels": embed_labels,
    "collect_garbage": collect_garbage,
}
