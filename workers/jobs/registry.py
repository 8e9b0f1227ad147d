"""Which function runs which kind of job."""

from collections.abc import Callable

from workers.jobs.add_corpus import add_corpus
from workers.jobs.add_model import add_model
from workers.jobs.add_sae import add_sae
from workers.jobs.collect_garbage import collect_garbage
from workers.jobs.compute_dashboards import compute_dashboards
from workers.jobs.embed_labels import embed_labels
from workers.jobs.evaluate_sae import evaluate_sae
from workers.jobs.explain_sae import explain_sae
from workers.jobs.judge_sweep import judge_sweep
from workers.jobs.label_sae import label_sae
from workers.jobs.map_sae import map_sae
from workers.jobs.match_saes import match_saes
from workers.jobs.scan_shard import scan_shard
from workers.jobs.score_causes import score_causes
from workers.jobs.score_labels import score_labels
from workers.jobs.train_sae import train_sae
from workers.lifecycle.work import RunningJob

RUNNERS: dict[str, Callable[[RunningJob], None]] = {
    runner.__name__: runner
    for runner in (
        add_model,
        add_corpus,
        train_sae,
        add_sae,
        evaluate_sae,
        compute_dashboards,
        scan_shard,
        map_sae,
        label_sae,
        explain_sae,
        score_labels,
        judge_sweep,
        match_saes,
        score_causes,
        embed_labels,
        collect_garbage,
    )
}
