"""Jobs that read one shard of the corpus for a dashboards job."""

from features.jobs import execution as job_execution
from workers.jobs import corpus_scan
from workers.lifecycle.work import RunningJob
from workers.pipeline.dashboards.corpus_pass import Shard


def scan_shard(job: RunningJob) -> None:
    """Read one shard. Its last checkpoint is stored for the dashboards job, which merges it."""
    sources = corpus_scan.scan_inputs(job)
    scan = corpus_scan.scan_corpus(
        job, sources, Shard(job.params["shard"] - 1, job.params["shards"])
    )
    job_execution.finish(job.row, {"tokens": scan.tokens})
