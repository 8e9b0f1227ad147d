"""Keeping an instance in order."""

from features.jobs import lifecycle
from features.services import garbage, label_words
from workers.lifecycle.runner import Work


def collect_garbage(work: Work) -> None:
    """Remove files that nothing refers to, and words that no label has."""
    work.say("Looking for files that no SAE and no job needs.")
    gone = garbage.collect()
    work.say(f"{gone.folders:,} folders removed, {gone.bytes / 1e6:,.1f} MB.")
    words = label_words.forget()
    lifecycle.finish(
        work.job,
        {"folders_removed": gone.folders, "bytes_freed": gone.bytes, "words_forgotten": words},
    )
