"""Steering runs: requests, who made them, and their texts in pieces."""

from typing import Any

from django.db import models
from django.db.models.functions import Now

from features.models.catalog import LanguageModel
from features.models.queue import QueuedWork
from features.records import Intervention


class SteeringRun(QueuedWork):
    """A steered generation. Equal requests share one row, which is computed once and has a
    permanent URL.

    queued -> running -> finished | failed | stopped; running -> queued if its lease expires. A run
    that was stopped, or failed for a temporary reason, is queued again when it is requested again.
    """

    class State(models.TextChoices):
        """State of a run. The last three are final."""

        QUEUED = "queued", "waiting its turn"
        RUNNING = "running", "running"
        FINISHED = "finished", "finished"
        FAILED = "failed", "failed"
        STOPPED = "stopped", "stopped"

    LIVE = (State.QUEUED, State.RUNNING)
    FINAL = frozenset({State.FINISHED, State.FAILED, State.STOPPED})

    key = models.CharField(
        max_length=64, unique=True, help_text="SHA-256 of everything that the text depends on."
    )
    model = models.ForeignKey(LanguageModel, models.CASCADE, related_name="steering_runs")
    params = models.JSONField(help_text="As the form of features.steering.forms cleaned them.")
    requested_by = models.CharField(
        max_length=100, help_text="The requester, for fair turns: user:ID, or a hash of an address."
    )
    state = models.CharField(
        max_length=10, choices=State, db_default=State.QUEUED, default=State.QUEUED
    )
    created = models.DateTimeField(db_default=Now())
    queued = models.DateTimeField(db_default=Now(), help_text="When it last joined the queue.")
    watched_until = models.DateTimeField(
        help_text="After this time no page watches the run, and others go first."
    )
    stop_requested = models.BooleanField(db_default=False, default=False)
    error: "models.JSONField[dict[str, Any] | None, Any]" = models.JSONField(
        null=True, help_text="{field, message, passing}"
    )

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state", "requested_by"], name="steering_by_state")]

    def __str__(self) -> str:
        return f"steering {self.pk}"

    def get_absolute_url(self) -> str:
        """The page of the run."""
        return f"/steer/{self.pk}/"

    @property
    def interventions(self) -> list[Intervention]:
        """The interventions of the run."""
        return [Intervention.from_json(stored) for stored in self.params["features"]]


class SteeringDelta(models.Model):
    """A batch of the pieces that `features/steering/transcript.py` joins into texts, in order."""

    pk = models.CompositePrimaryKey("run", "number")
    run = models.ForeignKey(
        SteeringRun, models.CASCADE, related_name="deltas", db_index=False
    )  # the key begins with it
    number = models.IntegerField()
    data = models.JSONField()

    class Meta:
        ordering = ["number"]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.number}"


class SteeringRequest(models.Model):
    """A request for a run: an entry of a history, or with a name, a preset."""

    run = models.ForeignKey(SteeringRun, models.CASCADE, related_name="requests")
    who = models.CharField(max_length=100)
    at = models.DateTimeField(db_default=Now())
    name = models.CharField(max_length=80, blank=True, db_default="", default="")

    class Meta:
        ordering = ["-at"]
        constraints = [models.UniqueConstraint(fields=["run", "who"], name="requested_once")]
        indexes = [models.Index(fields=["who", "-at"], name="steering_request_by_person")]

    def __str__(self) -> str:
        return f"{self.run_id} by {self.who}"
