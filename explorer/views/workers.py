"""Workers with their devices and current jobs."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from explorer.http.requests import HtmxRequest
from features.selectors import workers as worker_selectors


@require_safe
def index(request: HtmxRequest) -> HttpResponse:
    """All workers of the last day; for htmx only the part that changes."""
    views = worker_selectors.workers()
    context = {"workers": views, "queues": worker_selectors.queues(views)}
    return render(
        request, "workers/index.html#live" if request.htmx else "workers/index.html", context
    )
