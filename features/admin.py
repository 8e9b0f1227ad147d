"""The domain in Django's admin. What workers wrote is read only there; jobs are started on their
own page.
"""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from features.jobs import lifecycle
from features.jobs.forms.placement import as_placed
from features.models import Corpus, Dashboard, Feature, Job, JobEvent, LanguageModel, Sae
from features.records import InvalidParams
from features.services import jobs as job_services


class ReadOnly(admin.ModelAdmin[Any]):
    """Rows that only workers write."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Workers add them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Changed by hand they would no longer say what was measured."""
        return False


@admin.register(LanguageModel)
class LanguageModelAdmin(ReadOnly):
    """Models; deleting one deletes its SAEs and their features."""

    list_display = ["slug", "source", "revision", "layers", "d_model", "parameters", "created"]
    search_fields = ["slug", "source"]


@admin.register(Corpus)
class CorpusAdmin(ReadOnly):
    """Corpora."""

    list_display = ["slug", "source", "revision", "licence", "created"]
    search_fields = ["slug", "source"]


@admin.register(Sae)
class SaeAdmin(ReadOnly):
    """SAEs; deleting one deletes its features."""

    list_display = ["__str__", "hook", "architecture", "width", "corpus", "made_by", "created"]
    list_filter = ["architecture", "model"]
    list_select_related = ["model", "corpus", "made_by"]
    search_fields = ["slug", "model__slug", "hook"]


@admin.register(Dashboard)
class DashboardAdmin(ReadOnly):
    """Runs that computed features."""

    list_display = ["sae", "corpus", "tokens", "alive", "job", "made"]
    list_select_related = ["sae__model", "corpus", "job"]


@admin.register(Feature)
class FeatureAdmin(ReadOnly):
    """Features, by SAE. There are many: no count of all, and the search takes an index."""

    list_display = ["__str__", "index", "density", "max_activation", "updated"]
    list_select_related = ["sae__model"]
    list_filter = ["sae"]
    search_fields = ["=index"]
    show_full_result_count = False
    ordering = ["-id"]

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """They go with their SAE."""
        return False


class Trail(ReadOnly):
    """Rows that say who did what: they stay, and a job that others wait for cannot vanish under
    them.
    """

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes them."""
        return False


@admin.register(Job)
class JobAdmin(Trail):
    """Jobs: look, filter, cancel. They start on /jobs/new/, where wrong settings are refused and a
    cost is shown.
    """

    list_display = [
        "id",
        "kind",
        "state",
        "priority",
        "page",
        "created_by",
        "created",
        "started",
        "ended",
        "attempts",
        "worker",
    ]
    list_filter = ["state", "kind", "queue", "priority", "created_by"]
    list_select_related = ["created_by"]
    search_fields = ["=id", "worker", "error"]
    show_full_result_count = False
    actions = ["cancel", "put_first", "put_normal", "put_last", "run_again"]
    change_list_template = "admin/features/job/change_list.html"

    @admin.display(description="page")
    def page(self, job: Job) -> SafeString:
        """The job's own page."""
        return format_html('<a href="{}">{}% done</a>', job.get_absolute_url(), job.percent)

    @admin.action(description="Cancel the chosen jobs", permissions=["view"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Ask each to stop."""
        asked = sum(
            lifecycle.cancel(pk, by=request.user) for pk in queryset.values_list("pk", flat=True)
        )
        self.message_user(request, f"{asked} asked to stop; those that were over stay as they are.")

    @admin.action(description="Put the chosen jobs before all others", permissions=["view"])
    def put_first(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Priority high."""
        self._prioritise(request, queryset, Job.Priority.HIGH)

    @admin.action(description="Give the chosen jobs the normal priority", permissions=["view"])
    def put_normal(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Priority normal."""
        self._prioritise(request, queryset, Job.Priority.NORMAL)

    @admin.action(description="Put the chosen jobs behind all others", permissions=["view"])
    def put_last(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Priority low."""
        self._prioritise(request, queryset, Job.Priority.LOW)

    @admin.action(
        description="Run the chosen jobs again, those that failed or were cancelled",
        permissions=["view"],
    )
    def run_again(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """A new job each, with the same settings in the same place; one that is refused now says
        why.
        """
        ended = queryset.filter(state__in=[Job.State.FAILED, Job.State.CANCELLED]).order_by("id")
        for job in ended:
            try:
                again = job_services.start(
                    job.kind, job.params, by=request.user, placing=as_placed(job)
                )
            except InvalidParams as error:
                self.message_user(
                    request, f"Job {job.pk} cannot run again. {error}", messages.ERROR
                )
            else:
                self.message_user(request, f"Job {job.pk} runs again as job {again.pk}.")

    def _prioritise(self, request: HttpRequest, queryset: QuerySet[Job], priority: int) -> None:
        moved = sum(
            lifecycle.prioritise(pk, priority, by=request.user)
            for pk in queryset.values_list("pk", flat=True)
        )
        self.message_user(request, f"{moved} moved; those that have begun stay as they are.")


@admin.register(JobEvent)
class JobEventAdmin(Trail):
    """What happened to jobs, and who did it: the audit trail is what people did."""

    list_display = ["id", "job_id", "kind", "at", "by", "data"]
    list_filter = [("by", admin.EmptyFieldListFilter), "kind"]
    search_fields = ["=job__id", "=by"]
    show_full_result_count = False
    ordering = ["-id"]
