"""Jobs: the list, a job with its live curves, cancelling, and the stream of its changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST, require_safe

from explorer.access import may_cancel, may_start_jobs, staff_only
from explorer.forms.jobs import JobFilter
from explorer.http import sse
from explorer.http.requests import HtmxRequest
from explorer.plots import jobs as job_plots
from features.db import keyset
from features.jobs import lifecycle
from features.models import Job
from features.queue import notifications
from features.records import InvalidParams
from features.selectors import jobs as job_selectors
from features.selectors.jobs import JobView
from features.services import jobs as job_services

PAGE = 40
MAX_OVERLAYS = 20
"""Other runs that the page of a job offers to draw over its own."""
REST_SECONDS = 0.5
"""Pause between two events of a stream, at least."""


@require_safe
def index(request: HtmxRequest) -> HttpResponse:
    """Jobs, newest first. An unknown kind or state is an error of its field."""
    form = JobFilter(request.GET)
    form.is_valid()
    kind, state = (form.cleaned_data.get(name) or "" for name in ("kind", "state"))
    rows = job_selectors.jobs(kind, state)
    of = f"jobs {kind} {state}"
    listed, wrong = keyset.page_or_first(
        lambda cursor: keyset.page(rows, ["-id"], limit=PAGE, cursor=cursor, of=of),
        request.GET.get("cursor", ""),
    )
    if wrong:
        form.add_error(None, wrong)
    return render(request, "jobs/index.html", {"form": form, "page": listed})


@require_safe
def show(request: HtmxRequest, pk: int) -> HttpResponse:
    """One job; for htmx only the part that changes while it runs."""
    try:
        view = job_selectors.job(pk)
    except Job.DoesNotExist:
        raise Http404(f"There is no job {pk}.") from None
    since = request.GET.get("since", "")[:20]
    other, unknown = _overlay(view.job, request.GET.get("with", "")[:20])
    context = {
        "view": view,
        "job": view.job,
        "ahead": job_selectors.jobs_ahead(view.job),
        "other": other,
        "unknown": unknown,
        "url": view.job.get_absolute_url() + (f"?with={other.job.pk}" if other else ""),
        "new_events": [e for e in view.log if e.pk > int(since)] if since.isdecimal() else view.log,
        **_plots(view, other),
        **_permissions(request, view.job),
    }
    return render(request, "jobs/show.html#live" if request.htmx else "jobs/show.html", context)


def _plots(view: JobView, other: job_plots.Run | None) -> dict[str, Any]:
    """The curves of a job, over those of `other` or of the best earlier run."""
    own = job_plots.Run(view.job, view.curves)
    earlier = None if other else _best_earlier_run(view.job)
    rows = job_plots.sweep(own, job_selectors.trained_saes(view.job) if view.job.over else [])
    comparable = job_selectors.comparable_jobs(view.job)[:MAX_OVERLAYS] if view.curves else []
    return {
        "cards": job_plots.charts(own, earlier, other),
        "keys": job_plots.keys(own, other),
        "earlier": earlier,
        "comparable": list(comparable),
        "sweep": rows,
        "spots": job_plots.spots(rows),
        "compare": job_plots.compare_url(rows),
    }


def _best_earlier_run(job: Job) -> job_plots.Run | None:
    sae = job_selectors.rival(job)
    if sae is None or not sae.made_by_id:
        return None
    return job_plots.earlier_run(sae, job_selectors.curves(sae.made_by_id))


def _permissions(request: HtmxRequest, job: Job) -> dict[str, bool]:
    may_start = may_start_jobs(request.user)
    return {
        "may_resume": may_start and job_services.may_resume(job),
        "may_start": may_start and job.part_of_id is None,
        "may_cancel": may_cancel(request.user, job) and not job.over,
    }


def _overlay(job: Job, number: str) -> tuple[job_plots.Run | None, str]:
    """The job whose curves are drawn over those of `job`, and `number` if it names no such job."""
    if not number:
        return None, ""
    pk = int(number) if number.isdecimal() and len(number) < 19 else 0
    other = job_selectors.comparable_jobs(job).filter(pk=pk).first()
    return (job_plots.Run(other, job_selectors.curves(other.pk)), "") if other else (None, number)


@require_POST
@staff_only
def resume(request: HtmxRequest, pk: int) -> HttpResponse:
    """Start a job that continues from this one's last checkpoint."""
    if not job_selectors.every().filter(pk=pk).exists():
        raise Http404(f"There is no job {pk}.")
    try:
        job = job_services.resume(pk, by=request.user)
    except InvalidParams as error:
        context = {"pk": pk, "error": " ".join(error.messages)}
        return render(request, "jobs/refused.html", context, status=409)
    return redirect(job)


@require_POST
def cancel(request: HtmxRequest, pk: int) -> HttpResponse:
    """Request cancellation, for staff and the user who started the job. Does nothing if the job has
    ended.
    """
    job = job_selectors.every().filter(pk=pk).first()
    if job is None:
        raise Http404(f"There is no job {pk}.")
    if not may_cancel(request.user, job):
        raise PermissionDenied("Only staff and the user who started a job may cancel it.")
    lifecycle.cancel(pk, by=request.user)
    return redirect("job", pk)


@require_GET
async def events(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Server-sent events: `changed` when the page should be rendered again, `over` at the end."""
    if await _change_token(pk) is None:
        raise Http404(f"There is no job {pk}.")
    return sse.event_stream(_stream(pk))


async def _stream(pk: int) -> AsyncIterator[str]:
    """An event for each change. A notification without a change is a comment, which keeps proxies
    from closing the connection and detects clients that left.
    """
    seen: dict[str, Any] | None = {}
    async with aclosing(notifications.watch(notifications.Channel.JOB, pk)) as wakes:
        async for _ in wakes:
            now = await _change_token(pk)
            yield "event: changed\ndata: \n\n" if now != seen else ": still here\n\n"
            seen = now
            if now is None or now["state"] in Job.FINAL:
                yield "event: over\ndata: \n\n"
                return
            await asyncio.sleep(REST_SECONDS)


async def _change_token(pk: int) -> dict[str, Any] | None:
    return await sse.on_own_connection(lambda: job_selectors.change_token(pk))
