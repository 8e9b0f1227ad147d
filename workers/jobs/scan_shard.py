"""One shard of a dashboards job: read it, and leave its last checkpoint for the whole."""

from features.jobs import execution as job_execution
from workers.jobs import corpus_scan
from workers.lifecycle.work import RunningJob
from workers.pipeline.dashboards.corpus_pass import Shard


def scan_shard(job: RunningJob) -> None:
    """Read one shard; its last checkpoint, which is all of it, stays for the job that it is a part
    of.
    """
    given = corpus_scan.scan_inputs(job)
    scan = corpus_scan.scan_corpus(job, given, Shard(job.params["shard"] - 1, job.params["shards"]))
    job_execution.finish(job.row, {"tokens": scan.tokens})
