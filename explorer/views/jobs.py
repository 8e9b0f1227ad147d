"""Jobs: the list, one with its live curves, cancelling, and the stream that says when to look again."""

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

from explorer.access import may_cancel, may_start_jobs
from explorer.forms import JobFilter
from explorer.http import HtmxRequest
from features import jobs, keyset, notices
from features.models import Job
from features.selectors import jobs as reading

PAGE = 40
REST_SECONDS = 0.5
"""At most this often a watcher is told that something changed."""


@require_safe
def index(request: HtmxRequest) -> HttpResponse:
    """Jobs, newest first. What the query string asks for and does not exist is said beside its field."""
    form = JobFilter(request.GET)
    form.is_valid()
    kind, state = (form.cleaned_data.get(name) or "" for name in ("kind", "state"))
    rows = reading.jobs(kind, state)
    try:
        found = keyset.page(rows, ["-id"], limit=PAGE, cursor=request.GET.get("cursor", ""), of=f"jobs {kind} {state}")
    except keyset.BadCursor as error:
        form.add_error(None, str(error))
        found = keyset.page(rows, ["-id"], limit=PAGE, of=f"jobs {kind} {state}")
    return render(request, "jobs/index.html", {"form": form, "page": found})


@require_safe
def show(request: HtmxRequest, pk: int) -> HttpResponse:
    """One job; for htmx only what changes while it runs."""
    try:
        view = reading.job(pk)
    except Job.DoesNotExist:
        raise Http404(f"There is no job {pk}.") from None
    since = request.GET.get("since", "")[:20]
    ghost = reading.rival(view.job)
    context = {
        "view": view,
        "job": view.job,
        "ahead": reading.ahead(view.job),
        "ghost": ghost,
        "ghost_curves": reading.curves(ghost.pk) if ghost else {},
        "may_start": may_start_jobs(request.user),
        "may_cancel": may_cancel(request.user, view.job) and not view.job.over,
        "news": [e for e in view.log if e.pk > int(since)] if since.isdecimal() else view.log,
    }
    return render(request, "jobs/show.html#live" if request.htmx else "jobs/show.html", context)


@require_POST
def cancel(request: HtmxRequest, pk: int) -> HttpResponse:
    """Ask a job to stop; for who started it, and staff. Once it is over this changes nothing."""
    job = reading.jobs().filter(pk=pk).first()
    if job is None:
        raise Http404(f"There is no job {pk}.")
    if not may_cancel(request.user, job):
        raise PermissionDenied("Only staff and whoever started a job may cancel it.")
    jobs.cancel(pk, by=request.user)
    return redirect("job", pk)


@require_GET
async def events(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Server-sent events: `changed` whenever the job's page should be drawn again, `over` at the end."""
    if await _pulse(pk) is None:
        raise Http404(f"There is no job {pk}.")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(_stream(pk), content_type="text/event-stream", headers=headers)


async def _stream(pk: int) -> AsyncIterator[str]:
    """One event a change, and a comment where a wake-up brought none: it keeps proxies and dead clients honest."""
    seen: dict[str, Any] | None = {}
    async with aclosing(notices.watch(pk)) as wakes:
        async for _ in wakes:
            now = await _pulse(pk)
            yield "event: changed\ndata: \n\n" if now != seen else ": still here\n\n"
            seen = now
            if now is None or now["state"] in Job.FINAL:
                yield "event: over\ndata: \n\n"
                return
            await asyncio.sleep(REST_SECONDS)


async def _pulse(pk: int) -> dict[str, Any] | None:
    """The job's pulse, on a connection that is given back at once: a page that is only watched holds none."""

    def read() -> dict[str, Any] | None:
        try:
            return reading.pulse(pk)
        finally:
            connection.close()

    return await sync_to_async(read, thread_sensitive=False)()
