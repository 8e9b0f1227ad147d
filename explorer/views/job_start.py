"""Starting a job: choose its kind, fill in its form, see what it will cost, press
start. For staff.
"""

from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from explorer.access import staff_only
from explorer.forms.jobs import asked, job_form, posted
from explorer.http.requests import HtmxRequest
from features.jobs.forms import JOB_FORMS, JobForm
from features.jobs.forms.placement import Placing
from features.records import InvalidParams
from features.services import jobs as job_services
from features.services.estimates import Estimate, estimate

RENEWED = {"model": {"hook", "width", "context_size"}}
"""What is proposed anew when another field changes; a slug that was proposed always follows."""


@require_safe
@staff_only
def choose(request: HtmxRequest) -> HttpResponse:
    """Every kind of job."""
    return render(request, "jobs/choose.html", {"kinds": JOB_FORMS.values()})


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def start(request: HtmxRequest, kind: str) -> HttpResponse:
    """The form of a kind. A GET may prefill it; a POST starts the job, or with `recheck` proposes
    and estimates again.
    """
    if kind not in JOB_FORMS:
        raise Http404(f"There is no kind of job “{kind}”.")
    recheck = request.POST.get("recheck", "")
    if request.method == "POST" and not recheck:
        return _started(request, kind)
    if recheck:
        given = {
            n: v for n, v in posted(kind, request.POST).items() if n not in RENEWED.get(recheck, ())
        }
    else:
        given = asked(kind, request.GET)
    initial = given if recheck == "estimate" else JOB_FORMS[kind].defaults(given)
    return _page(
        request, kind, job_form(kind, initial=initial), estimate_of(kind, initial), recheck=recheck
    )


def _started(request: HtmxRequest, kind: str) -> HttpResponse:
    data = posted(kind, request.POST)
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
    """The estimate from those fields that are right so far."""
    form = JOB_FORMS[kind]({name: value for name, value in data.items() if value is not None})
    form.is_valid()
    return estimate(kind, form.cleaned_data)
