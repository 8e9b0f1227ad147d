"""Jobs and their events, and requests to start jobs."""

from typing import Any

from rest_framework import serializers

from explorer.api.v1.fields import PageQuery, TextField
from explorer.api.v1.serializers.catalog import PAGE, Slug
from features.jobs.forms import JOB_FORMS
from features.jobs.forms.placement import OPTIONS
from features.models import Job, JobEvent

BIGGEST_ID = 2**63 - 1


class JobQuery(PageQuery):
    """Which jobs."""

    kind = serializers.ChoiceField(choices=list(JOB_FORMS), required=False)
    state = serializers.ChoiceField(choices=Job.State.choices, required=False)


class EventQuery(serializers.Serializer[Any]):
    """Which events."""

    after = serializers.IntegerField(
        min_value=0,
        max_value=BIGGEST_ID,
        default=0,
        help_text="Only events after the one of this id.",
    )
    kind = serializers.ChoiceField(choices=JobEvent.Kind.choices, required=False)
    limit = serializers.IntegerField(
        min_value=1, max_value=1000, default=200, help_text="Rows per page, 1 to 1000."
    )


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job: what was asked for, how far it is, and how it ended."""

    url = serializers.CharField(source="get_absolute_url", read_only=True, help_text=PAGE)
    params = serializers.DictField(
        source="shown_params",
        read_only=True,
        help_text="The settings, as they were checked; of a path only its last part.",
    )
    created_by: Slug = serializers.SlugRelatedField(
        slug_field="username",
        read_only=True,
        allow_null=True,
        help_text="Null where a command or the first run started it.",
    )
    after = serializers.IntegerField(
        source="after_id",
        read_only=True,
        allow_null=True,
        help_text="Id of the job that it waits for.",
    )
    part_of = serializers.IntegerField(
        source="part_of_id",
        read_only=True,
        allow_null=True,
        help_text="Id of the job that it is a part of; lists leave parts out.",
    )
    priority = serializers.ChoiceField(
        choices=Job.Priority.choices,
        read_only=True,
        help_text="1 goes before 0, and that before -1.",
    )
    not_before = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text="When it is tried again, where it failed for a reason that may pass.",
    )
    share = serializers.FloatField(read_only=True, help_text="How much is done, 0 to 1.")
    result = serializers.DictField(
        read_only=True, help_text="What it made; empty until it finished."
    )
    environment = serializers.DictField(
        read_only=True, help_text="Versions and device of the worker that ran it last."
    )
    error_field = TextField(
        read_only=True, help_text="The setting that caused the error, where one did."
    )

    class Meta:
        model = Job
        fields = [
            "id",
            "url",
            "kind",
            "params",
            "state",
            "queue",
            "priority",
            "not_before",
            "created_by",
            "after",
            "part_of",
            "created",
            "started",
            "ended",
            "attempts",
            "cancel_requested",
            "share",
            "done",
            "total",
            "unit",
            "doing",
            "result",
            "error",
            "error_field",
            "environment",
        ]
        read_only_fields = fields


class JobRequestSerializer(serializers.Serializer[Any]):
    """A job to start."""

    kind = serializers.ChoiceField(
        choices=list(JOB_FORMS), help_text="`/api/v1/kinds/` lists them with their settings."
    )
    params = serializers.DictField(
        help_text="The settings of that kind, by name; what is left out takes its default.",
        default=dict,
    )
    priority = serializers.ChoiceField(
        choices=OPTIONS["priority"],
        default="normal",
        help_text="Which of the jobs that wait in a queue goes first.",
    )
    device = serializers.ChoiceField(
        choices=OPTIONS["device"],
        default="any",
        help_text="Only a worker with this device runs the job.",
    )


class JobEventSerializer(serializers.ModelSerializer[JobEvent]):
    """One thing that happened to a job."""

    data = serializers.DictField(  # type: ignore[assignment]
        help_text=(
            "state: {state, note}. metrics: {step, values: {name: number}, and in a sweep "
            "series: the SAE's slug}. log: {text}."
        ),
        read_only=True,
    )

    class Meta:
        model = JobEvent
        fields = ["id", "kind", "data", "at", "by"]
        read_only_fields = fields
