"""What labels mean, from their rows to vectors that searches find."""

from collections.abc import Iterator

from features.jobs import execution as job_execution
from features.records import Progress
from features.services import embeddings
from workers import model_cache
from workers.lifecycle.work import RunningJob

AT_ONCE = 512
"""Labels read, embedded and written in one go: a job that is stopped loses no more."""


def embed_labels(job: RunningJob) -> None:
    """Embed labels until none is left, also those that are written meanwhile. A second run goes on
    where one stopped.
    """
    embedder = model_cache.load_embedder()
    if embeddings.prepare(embedder.name, embedder.dimensions):
        job.log(f"{embedder.name} is another embedder than before: every label is read again.")
    done = 0
    for progress in job.results(_embedded(job)):
        done = progress
    job_execution.finish(job.row, {"embedded": done, "embedder": embedder.name})


def _embedded(job: RunningJob) -> Iterator[Progress | int]:
    """Progress, and at the end how many were embedded."""
    embedder, done, last = model_cache.load_embedder(), 0, 0
    total = embeddings.missing()
    while not job.should_stop():
        labels = embeddings.due(after=last, limit=AT_ONCE) or embeddings.due(after=0, limit=AT_ONCE)
        if not labels:
            yield done
            return
        embeddings.keep(
            embedder.name, labels, embedder.embed([label.text for label in labels]).tolist()
        )
        last, done = labels[-1].id, done + len(labels)
        yield Progress(done, max(total, done), "labels", "reading what labels mean")
