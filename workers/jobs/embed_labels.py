"""Jobs that embed labels for the search by meaning."""

from collections.abc import Iterator

from features.jobs import execution as job_execution
from features.records import Progress
from features.services import embeddings
from workers import model_cache
from workers.lifecycle.work import RunningJob

AT_ONCE = 512
"""Labels in a batch: a job that is stopped loses at most one."""


def embed_labels(job: RunningJob) -> None:
    """Embed labels until none is left, including those written meanwhile. The next run continues
    where this one stopped.
    """
    embedder = model_cache.load_embedder()
    if embeddings.prepare(embedder.name, embedder.dimensions):
        job.log(f"{embedder.name} is a new embedder: every label is embedded again.")
    done = 0
    for progress in job.results(_embed(job)):
        done = progress
    job_execution.finish(job.row, {"embedded": done, "embedder": embedder.name})


def _embed(job: RunningJob) -> Iterator[Progress | int]:
    """Yield progress, and at the end how many labels were embedded."""
    embedder, done, last = model_cache.load_embedder(), 0, 0
    total = embeddings.count_missing()
    while not job.should_stop():
        labels = embeddings.pending_labels(after=last, limit=AT_ONCE) or embeddings.pending_labels(
            after=0, limit=AT_ONCE
        )
        if not labels:
            yield done
            return
        embeddings.store(
            embedder.name, labels, embedder.embed([label.text for label in labels]).tolist()
        )
        last, done = labels[-1].id, done + len(labels)
        yield Progress(done, max(total, done), "labels", "embedding labels")
