"""Start a job: choose its kind, fill in its form, see the estimate. For staff."""

from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from explorer.access import staff_only
from explorer.forms.jobs import job_form, posted_fields, query_fields
from explorer.http.requests import HtmxRequest
from features.jobs.forms import JOB_FORMS, JobForm
from features.jobs.forms.placement import Placing
from features.records import InvalidParams
from features.services import jobs as job_services
from features.services.estimates import Estimate, estimate

RECOMPUTED = {"model": {"hook", "width", "context_size"}}
"""Fields whose defaults are recomputed when another field changes; so is a default slug."""


@require_safe
@staff_only
def choose(request: HtmxRequest) -> HttpResponse:
    return render(request, "jobs/choose.html", {"kinds": JOB_FORMS.values()})


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def start(request: HtmxRequest, kind: str) -> HttpResponse:
    """The form of a kind. A GET may prefill it; a POST starts the job, or with `recheck` recomputes
    defaults and estimate.
    """
    if kind not in JOB_FORMS:
        raise Http404(f"There is no kind of job “{kind}”.")
    recheck = request.POST.get("recheck", "")
    if request.method == "POST" and not recheck:
        return _start_job(request, kind)
    if recheck:
        given = {
            n: v
            for n, v in posted_fields(kind, request.POST).items()
            if n not in RECOMPUTED.get(recheck, ())
        }
    else:
        given = query_fields(kind, request.GET)
    initial = given if recheck == "estimate" else JOB_FORMS[kind].defaults(given)
    return _page(
        request, kind, job_form(kind, initial=initial), estimate_of(kind, initial), recheck=recheck
    )


def _start_job(request: HtmxRequest, kind: str) -> HttpResponse:
    data = posted_fields(kind, request.POST)
    placing = {name: request.POST[name] for name in Placing.base_fields if name in request.POST}
    try:
        job = job_services.start(kind, data, by=request.user, placing=placing)
    except InvalidParams:
        form = job_form(kind, data)
        form.is_valid()
        return _page(request, kind, form, estimate_of(kind, data), status=422)
    return redirect(job)


def _page(
    request: HtmxRequest,
    kind: str,
    form: JobForm,
    guess: Estimate | None,
    *,
    recheck: str = "",
    status: int = 200,
) -> HttpResponse:
    part = {"": "", "estimate": "#estimate"}.get(recheck, "#fields") if request.htmx else ""
    given = request.POST if request.method == "POST" else request.GET
    sent = given if any(name in given for name in Placing.base_fields) else None
    context = {"kind": JOB_FORMS[kind], "form": form, "placing": Placing(sent), "estimate": guess}
    return render(request, f"jobs/start.html{part}", context, status=status)


def estimate_of(kind: str, data: Mapping[str, Any]) -> Estimate | None:
    """The estimate from the fields that are valid so far."""
    form = JOB_FORMS[kind]({name: value for name, value in data.items() if value is not None})
    form.is_valid()
    return estimate(kind, form.cleaned_data)
