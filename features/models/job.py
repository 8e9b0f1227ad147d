"""Work that a person started, and everything that happened to it."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from features import redaction
from features.models.queue import QueuedWork

PACE_SECONDS = 2.0
"""A speed measured over less than this says little: until then the time left is being estimated."""


class Job(QueuedWork):
    """A request for work. The row is the truth; the Celery message only carries its id."""

    class State(models.TextChoices):
        """State of a job. The last three are final."""

        WAITING = "waiting", "waiting for another job"
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        FINISHED = "finished", "finished"
        FAILED = "failed", "failed"
        CANCELLED = "cancelled", "cancelled"

    class Priority(models.IntegerChoices):
        """Which of the jobs that wait in a queue goes first; among equals the oldest."""

        LOW = -1, "low: when nothing else waits"
        NORMAL = 0, "normal"
        HIGH = 1, "high: before all others"

    IDLE = (State.WAITING, State.QUEUED)
    FINAL = frozenset({State.FINISHED, State.FAILED, State.CANCELLED})

    kind = models.CharField(max_length=50)
    params = models.JSONField(help_text="Validated with the kind's form.")
    state = models.CharField(
        max_length=10, choices=State, db_default=State.QUEUED, default=State.QUEUED
    )
    queue = models.CharField(max_length=50)
    priority = models.SmallIntegerField(
        choices=Priority,
        db_default=0,
        default=0,
        help_text="Of those that wait in a queue, the highest goes first.",
    )
    not_before = models.DateTimeField(
        null=True, help_text="A job that failed for a while is tried again from then on."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="jobs"
    )
    after = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="followers"
    )
    part_of = models.ForeignKey(
        "self",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="parts",
        help_text="The job that waits until all its parts have finished.",
    )
    created = models.DateTimeField(db_default=Now())
    cancel_requested = models.BooleanField(db_default=False, default=False)
    done = models.BigIntegerField(db_default=0, default=0)
    total = models.BigIntegerField(db_default=0, default=0)
    unit = models.CharField(max_length=30, blank=True, db_default="", default="")
    doing = models.CharField(max_length=300, blank=True, db_default="", default="")
    rate_done = models.BigIntegerField(
        null=True, help_text="Units done at the first report of this attempt."
    )
    rate_at = models.DateTimeField(
        null=True, help_text="Time of that report, from which the speed is measured."
    )
    progress_at = models.DateTimeField(null=True, help_text="Time of the last report of progress.")
    checkpoint = models.CharField(max_length=500, blank=True, db_default="", default="")
    written = models.JSONField(
        default=dict,
        help_text="By SAE: features below this one are in the database; an attempt goes on there.",
    )
    result = models.JSONField(default=dict)
    error = models.TextField(blank=True, db_default="", default="")
    error_field = models.CharField(max_length=50, blank=True, db_default="", default="")
    environment = models.JSONField(
        default=dict, help_text="Versions and device of the worker that ran it last."
    )

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state", "lease_until"], name="job_by_state")]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(state="running") | models.Q(lease_until__isnull=False),
                name="a_running_job_has_a_lease",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    state__in=["finished", "failed", "cancelled"], ended__isnull=False
                )
                | models.Q(state__in=["waiting", "queued", "running"], ended__isnull=True),
                name="an_end_has_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    def get_absolute_url(self) -> str:
        """The job's page."""
        return f"/jobs/{self.pk}/"

    @property
    def shown_params(self) -> dict[str, Any]:
        """The params as everyone may see them: a source on the worker's machine by its name."""
        return {k: redaction.of_source(v) if k == "source" else v for k, v in self.params.items()}

    @property
    def in_parts(self) -> bool:
        """Whether other jobs are parts of this one."""
        return self.part_of_id is None and self.params.get("shards", 1) > 1

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        if self.state == self.State.FINISHED:
            return 1.0
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def percent(self) -> int:
        """`share` in whole percents, rounded down: 100 means all of it."""
        return int(self.share * 100)

    @property
    def rate(self) -> float | None:
        """Units per second since the first report of this attempt; None until it is meaningful."""
        if self.rate_done is None or self.rate_at is None or self.progress_at is None:
            return None
        seconds, units = (
            (self.progress_at - self.rate_at).total_seconds(),
            self.done - self.rate_done,
        )
        return units / seconds if seconds >= PACE_SECONDS and units > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end at the measured rate; None if unknown or not running."""
        if self.state not in (self.State.RUNNING, self.State.WAITING) or not self.rate:
            return None
        return max(self.total - self.done, 0) / self.rate

    @property
    def seconds(self) -> float | None:
        """How long the last attempt took, or has been running; None where it never started."""
        if self.started is None:
            return None
        return max(((self.ended or timezone.now()) - self.started).total_seconds(), 0.0)


class JobEvent(models.Model):
    """An event of a job, in order of id. The log and the curves consist of these."""

    class Kind(models.TextChoices):
        """What `data` holds."""

        STATE = "state"  # {state, note}
        METRICS = "metrics"  # {step, values: {name: number}, series: of which SAE of a sweep}
        LOG = "log"  # {text}

    job = models.ForeignKey(Job, models.CASCADE, related_name="events")
    kind = models.CharField(max_length=10, choices=Kind)
    data = models.JSONField()
    at = models.DateTimeField(db_default=Now())
    by = models.CharField(
        max_length=150,
        blank=True,
        db_default="",
        default="",
        help_text="Who did it, where a person did.",
    )

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["job", "kind", "id"], name="event_by_job_and_kind")]

    def __str__(self) -> str:
        return f"{self.kind} of job {self.job_id}"
