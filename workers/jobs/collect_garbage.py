"""Jobs that remove what an instance no longer needs."""

from features.jobs import execution as job_execution
from features.services import garbage, label_words
from workers.lifecycle.work import RunningJob


def collect_garbage(job: RunningJob) -> None:
    """Remove files without references, and indexed words that no label has."""
    job.log("Looking for files that no SAE and no job needs.")
    removed = garbage.collect()
    job.log(f"{removed.folders:,} folders removed, {removed.bytes / 1e6:,.1f} MB.")
    words = label_words.forget()
    job_execution.finish(
        job.row,
        {
            "folders_removed": removed.folders,
            "bytes_freed": removed.bytes,
            "words_forgotten": words,
        },
    )
