"""Workers: who is there, on what device, and what each is doing."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from explorer.http.requests import HtmxRequest
from features.selectors import workers as worker_selectors


@require_safe
def index(request: HtmxRequest) -> HttpResponse:
    """All workers of the last day; for htmx only what changes."""
    views = worker_selectors.workers()
    context = {"workers": views, "queues": worker_selectors.queues(views)}
    return render(
        request, "workers/index.html#live" if request.htmx else "workers/index.html", context
    )
