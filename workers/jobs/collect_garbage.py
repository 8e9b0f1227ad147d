"""Keeping an instance in order."""

from features.jobs import execution as job_execution
from features.services import garbage, label_words
from workers.lifecycle.work import RunningJob


def collect_garbage(job: RunningJob) -> None:
    """Remove files that nothing refers to, and words that no label has."""
    job.log("Looking for files that no SAE and no job needs.")
    gone = garbage.collect()
    job.log(f"{gone.folders:,} folders removed, {gone.bytes / 1e6:,.1f} MB.")
    words = label_words.forget()
    job_execution.finish(
        job.row,
        {"folders_removed": gone.folders, "bytes_freed": gone.bytes, "words_forgotten": words},
    )
