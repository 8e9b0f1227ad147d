"""Steering: the form, a run with its texts, and the stream of its pieces."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
    require_safe,
)
from django_htmx.http import push_url

from explorer.access import may_start_jobs, staff_only
from explorer.forms import steering as steering_forms
from explorer.http import sse
from explorer.http.requests import HtmxRequest, page
from explorer.plots import dose_response
from features.inference import requests as inference_requests
from features.jobs.forms import JudgeSweep
from features.models import LanguageModel, SteeringRequest, SteeringRun
from features.records import InvalidParams
from features.selectors import judgements as judgement_selectors
from features.selectors.endpoints import usable_by
from features.services import jobs as job_services
from features.steering import run_views
from features.steering import runs as steering_runs
from features.steering.forms import MODES, PLACES, SteerForm
from features.steering.interventions import METHODS, UNITS
from features.token_spans import text_of

MAX_MATCHES = 12


@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HtmxRequest) -> HttpResponse:
    """The form, filled from the query string; a POST starts a run, or shows an equal one."""
    if request.method != "POST":
        return _page(request, request.GET)
    chosen = [
        steering_forms.with_strength(fields, None)
        for fields in steering_forms.intervention_fields(request.POST)
    ]
    form = SteerForm(steering_forms.form_data(request.POST, chosen))
    if not form.is_valid():
        return _page(request, request.POST, steering_forms.error_list(form.errors), status=422)
    try:
        run = steering_runs.request_run(
            form,
            steering_forms.requester(request),
            steering_forms.history_owner(request, begin=True),
        )
    except steering_runs.TooManyRuns as many:
        return _page(request, request.POST, [("", str(many))], status=429)
    except inference_requests.NoAnswer as error:
        return _page(request, request.POST, [("", str(error))], status=503)
    if request.htmx:  # a page of its own would be a second to draw before the first token
        return push_url(_render_form(request, run.pk), run.get_absolute_url())
    return redirect(run)


@require_safe
def show(request: HtmxRequest, pk: int) -> HttpResponse:
    """A run: its form, and its texts so far. Viewing it keeps it running."""
    return _render_form(request, pk)


def _render_form(
    request: HtmxRequest, pk: int, errors: list[tuple[str, str]] | None = None, status: int = 200
) -> HttpResponse:
    number = request.GET.get("show", "0")
    shown_feature = int(number) if number.isdecimal() and len(number) < 4 else 0
    try:
        steering_runs.watch(pk)
        view = run_views.view(pk, shown_feature)
    except (SteeringRun.DoesNotExist, OverflowError):
        raise Http404(f"There is no steering run {pk}.") from None
    return _page(
        request, QueryDict(steering_forms.query_of(view.run), mutable=True), errors, view, status
    )


@require_POST
def stop(request: HtmxRequest, pk: int) -> HttpResponse:
    """Stop a run; its texts so far stay. Does nothing if the run has ended."""
    if not SteeringRun.objects.filter(pk=pk).exists():
        raise Http404(f"There is no steering run {pk}.")
    if (
        SteeringRequest.objects.filter(run=pk, who=steering_forms.history_owner(request)).exists()
        or request.user.is_staff
    ):
        steering_runs.stop(pk)
    return redirect("steering", pk)


@require_POST
def name(request: HtmxRequest, pk: int) -> HttpResponse:
    """Name a run, which makes it a preset of this user; an empty name removes it."""
    SteeringRequest.objects.filter(run=pk, who=steering_forms.history_owner(request)).update(
        name=request.POST.get("name", "").replace("\0", "").strip()[:80]
    )
    return redirect("steering", pk)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def judge(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Have a language model judge the texts of a sweep. A GET (after signing in) shows the run."""
    if request.method != "POST":
        return redirect("steering", pk)
    endpoint = request.POST.get("endpoint", "").replace("\0", "\ufffd")
    if endpoint and not usable_by(request.user.pk).filter(slug=endpoint).exists():
        return _render_form(
            request,
            pk,
            [("Judge", f"There is no endpoint “{endpoint[:60]}” of yours.")],
            status=422,
        )
    try:
        return redirect(
            job_services.start(JudgeSweep.kind, {"run": pk, "endpoint": endpoint}, by=request.user)
        )
    except InvalidParams as error:
        errors = [("Judge", message) for message in error.messages]
        return _render_form(request, pk, errors, status=422)


@require_GET
async def events(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Server-sent events: numbered `delta` events with new pieces, and `over` at the end."""
    last_id = request.headers.get("Last-Event-ID", request.GET.get("after", "0"))
    after = int(last_id) if last_id.isdecimal() and len(last_id) < 10 else 0
    model_id = await sse.on_own_connection(
        lambda: SteeringRun.objects.filter(pk=pk).values_list("model_id", flat=True).first()
    )
    if model_id is None:
        raise Http404(f"There is no steering run {pk}.")
    return sse.steering_stream(pk, model_id, after)


def _page(
    request: HtmxRequest,
    data: QueryDict,
    errors: list[tuple[str, str]] | None = None,
    view: run_views.RunView | None = None,
    status: int = 200,
) -> HttpResponse:
    models = list(LanguageModel.objects.order_by("slug"))
    model = next(
        (model for model in models if model.slug == data.get("model")),
        models[0] if models else None,
    )
    data = steering_forms.with_preset(data)
    chosen, owner = steering_forms.intervention_fields(data), steering_forms.history_owner(request)
    rows = view.features if view else {}
    if model and chosen and not view:
        rows = run_views.features(model.pk, [_name(fields.name) for fields in chosen])
    chosen = [
        steering_forms.with_strength(fields, rows.get(_name(fields.name))) for fields in chosen
    ]
    picker_query = data.get("q", "").replace("\0", "").strip()
    initial = steering_forms.form_data(data, chosen)
    context = {
        "form": SteerForm(initial) if errors else SteerForm(initial=initial),
        "models": models,
        "model": model,
        "interventions": chosen,
        "picker_query": picker_query,
        "matches": (
            run_views.find(model, picker_query, MAX_MATCHES) if model and picker_query else []
        ),
        "methods": METHODS, "units": UNITS, "places": PLACES, "modes": MODES,
        "errors": errors or [],
        "view": view,
        "run": view.run if view else None,
        "mine": SteeringRequest.objects.filter(run=view.run, who=owner).first() if view else None,
        "history": run_views.history(owner),
        "saved": run_views.presets(owner),
        "presets": steering_forms.PRESETS,
        "query": data.urlencode(),
        "run_url": request.build_absolute_uri(view.run.get_absolute_url()) if view else "",
    }  # fmt: skip
    if view and view.run.params["strengths"]:
        context |= _swept(request, view)
    if request.htmx and request.htmx.target == "matches":
        return render(request, "steering/_interventions.html#matches", context)
    response = page(request, "steering/index.html", context, {"result": "result"})
    response.status_code = status
    return response


def _swept(request: HtmxRequest, view: run_views.RunView) -> dict[str, Any]:
    """The additional context of a sweep."""
    dose = view.sweep.dose
    if dose is None:
        return {"sweep": view.sweep}
    strengths = [f"{strength:g}" for strength in dose["strengths"]]
    marks = {
        kind: None if dose[kind] is None else strengths[dose[kind]] for kind in ("best", "breaks")
    }
    best = QueryDict(steering_forms.query_of(view.run), mutable=True)
    best["strength"] = marks["best"] or ""
    judgements = list(judgement_selectors.judgements(view.run.pk))
    judged = next(
        (judgement for judgement in judgements if str(judgement.pk) == request.GET.get("judged")),
        judgements[0] if judgements else None,
    )
    return {
        "sweep": view.sweep,
        "marks": marks,
        "cards": dose_response.cards(dose),
        "dose_rows": dose_response.rows(
            dose, [text_of(ids, view.vocabulary) for ids in dose["texts"]], judged
        ),
        "best_query": best.urlencode(),
        "judged": judged,
        "judged_cards": dose_response.judged_cards(dose, judged) if judged else [],
        "other_judgements": [judgement for judgement in judgements if judgement != judged],
        "judging": JudgeSweep.unfinished(view.run.pk),
        "endpoints": usable_by(request.user.pk) if may_start_jobs(request.user) else None,
        "limits": {
            name: JudgeSweep.base_fields[name].initial for name in ("most_tokens", "most_cost")
        },
    }


def _name(text: str) -> tuple[str, int]:
    sae, _, index = text.replace("\0", "\ufffd").rpartition(
        "/"
    )  # no name holds either, and PostgreSQL refuses the first
    return sae, int(index) if index.isascii() and index.isdigit() and len(index) < 10 else -1
