"""The columns of a row that workers claim: jobs and steering runs."""

from typing import ClassVar

from django.db import models


class QueuedWork(models.Model):
    """Work that waits for a worker. While one runs it, only that worker writes to the row, until
    its lease ends; `features.queue` changes these columns.
    """

    QUEUED: ClassVar = "queued"
    RUNNING: ClassVar = "running"
    FINAL: ClassVar[frozenset[str]]

    state: "models.CharField[str, str]"
    sent = models.DateTimeField(null=True, help_text="When its message last went to the broker.")
    started = models.DateTimeField(null=True)
    ended = models.DateTimeField(null=True)
    worker = models.CharField(max_length=200, blank=True, db_default="")
    lease_until = models.DateTimeField(
        null=True, help_text="Work that runs and whose lease has ended lost its worker."
    )
    attempts = models.PositiveIntegerField(db_default=0, default=0)

    class Meta:
        abstract = True

    @property
    def over(self) -> bool:
        """Whether the state is final."""
        return self.state in self.FINAL
