"""Jobs: the list, one with its live curves, cancelling, and the stream that says when to look
again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST, require_safe

from explorer.access import may_cancel, may_start_jobs, staff_only
from explorer.forms.jobs import JobFilter
from explorer.http.requests import HtmxRequest
from explorer.plots import jobs as job_plots
from features.db import keyset
from features.jobs import lifecycle
from features.models import Job
from features.queue import notifications
from features.records import InvalidParams
from features.selectors import jobs as job_selectors
from features.services import jobs as job_services

PAGE = 40
MOST_BESIDE = 20
"""Other runs that a job's page proposes to lay over its own."""
REST_SECONDS = 0.5
"""At most this often a watcher is told that something changed."""


@require_safe
def index(request: HtmxRequest) -> HttpResponse:
    """Jobs, newest first. What the query string asks for and does not exist is said beside its
    field.
    """
    form = JobFilter(request.GET)
    form.is_valid()
    kind, state = (form.cleaned_data.get(name) or "" for name in ("kind", "state"))
    rows = job_selectors.jobs(kind, state)
    of = f"jobs {kind} {state}"
    found, wrong = keyset.page_or_first(
        lambda cursor: keyset.page(rows, ["-id"], limit=PAGE, cursor=cursor, of=of),
        request.GET.get("cursor", ""),
    )
    if wrong:
        form.add_error(None, wrong)
    return render(request, "jobs/index.html", {"form": form, "page": found})


@require_safe
def show(request: HtmxRequest, pk: int) -> HttpResponse:
    """One job; for htmx only what changes while it runs."""
    try:
        view = job_selectors.job(pk)
    except Job.DoesNotExist:
        raise Http404(f"There is no job {pk}.") from None
    since = request.GET.get("since", "")[:20]
    own = job_plots.Run(view.job, view.curves)
    other, unknown = _laid_over(view.job, request.GET.get("with", "")[:20])
    best = None if other else job_selectors.rival(view.job)
    ghost = (
        job_plots.ghost(best, job_selectors.curves(best.made_by_id))
        if best and best.made_by_id
        else None
    )
    rows = job_plots.sweep(own, job_selectors.made(view.job) if view.job.over else [])
    context = {
        "view": view,
        "job": view.job,
        "ahead": job_selectors.ahead(view.job),
        "cards": job_plots.charts(own, ghost, other),
        "keys": job_plots.keys(own, other),
        "ghost": ghost,
        "other": other,
        "unknown": unknown,
        "sweep": rows,
        "spots": job_plots.spots(rows),
        "compare": job_plots.compare_url(rows),
        "beside": list(job_selectors.beside(view.job)[:MOST_BESIDE]) if view.curves else [],
        "address": f"{view.job.get_absolute_url()}?with={other.job.pk}"
        if other
        else view.job.get_absolute_url(),
        "may_resume": may_start_jobs(request.user) and job_services.may_resume(view.job),
        "may_start": may_start_jobs(request.user) and view.job.part_of_id is None,
        "may_cancel": may_cancel(request.user, view.job) and not view.job.over,
        "news": [e for e in view.log if e.pk > int(since)] if since.isdecimal() else view.log,
    }
    return render(request, "jobs/show.html#live" if request.htmx else "jobs/show.html", context)


def _laid_over(job: Job, asked: str) -> tuple[job_plots.Run | None, str]:
    """The job whose curves are to be laid over those of `job`, or what was asked for and is not to
    be had.
    """
    if not asked:
        return None, ""
    number = int(asked) if asked.isdecimal() and len(asked) < 19 else 0
    other = job_selectors.beside(job).filter(pk=number).first()
    return (job_plots.Run(other, job_selectors.curves(other.pk)), "") if other else (None, asked)


@require_POST
@staff_only
def resume(request: HtmxRequest, pk: int) -> HttpResponse:
    """Start a job that goes on where this one stood."""
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
    """Ask a job to stop; for who started it, and staff. Once it is over this changes nothing."""
    job = job_selectors.every().filter(pk=pk).first()
    if job is None:
        raise Http404(f"There is no job {pk}.")
    if not may_cancel(request.user, job):
        raise PermissionDenied("Only staff and the user who started a job may cancel it.")
    lifecycle.cancel(pk, by=request.user)
    return redirect("job", pk)


@require_GET
async def events(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Server-sent events: `changed` whenever the job's page should be drawn again, `over` at the
    end.
    """
    if await _pulse(pk) is None:
        raise Http404(f"There is no job {pk}.")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(_stream(pk), content_type="text/event-stream", headers=headers)


async def _stream(pk: int) -> AsyncIterator[str]:
    """One event a change, and a comment where a wake-up brought none: it keeps proxies and dead
    clients honest.
    """
    seen: dict[str, Any] | None = {}
    async with aclosing(notifications.watch(notifications.Channel.JOB, pk)) as wakes:
        async for _ in wakes:
            now = await _pulse(pk)
            yield "event: changed\ndata: \n\n" if now != seen else ": still here\n\n"
            seen = now
            if now is None or now["state"] in Job.FINAL:
                yield "event: over\ndata: \n\n"
                return
            await asyncio.sleep(REST_SECONDS)


async def _pulse(pk: int) -> dict[str, Any] | None:
    """The job's pulse, on a connection that is given back at once: a page that is only watched
    holds none.
    """

    def read() -> dict[str, Any] | None:
        try:
            return job_selectors.pulse(pk)
        finally:
            connection.close()

    return await sync_to_async(read, thread_sensitive=False)()
