"""Steering a model: the same runs as on the page."""

import json

from django.http.response import HttpResponseBase
from rest_framework.exceptions import Throttled, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1 import examples
from explorer.api.v1.exceptions import Unanswered
from explorer.api.v1.parsing import parse_body
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.steering import (
    SteeringSerializer,
    SteerRequestSerializer,
    steering,
)
from explorer.forms.steering import requester
from explorer.http import sse
from features.models import SteeringRun
from features.selectors import judgements as judgement_selectors
from features.steering import run_views
from features.steering import runs as steering_runs
from features.steering.forms import SteerForm

LONGEST_WAIT = 120.0
"""Seconds; a run that takes longer is read as a stream, or by a second request."""


class Steer(APIView):
    """Steering runs: the steered and the default text."""

    @operation(
        "steer",
        SteeringSerializer,
        413,
        415,
        503,
        request=SteerRequestSerializer,
        examples=examples.STEER,
    )
    def post(self, request: Request) -> HttpResponseBase:
        """Steer: default and steered text of one prompt, from one batch, or a sweep of one feature
        over `strengths`.

        Equal requests share one run. With `stream` the answer is `text/event-stream`: the event
        `run` with its id and URL, `delta` with what came (docs/steering.md), and `over`.
        """
        data = parse_body(request, SteerRequestSerializer)
        settings = {name: value for name, value in dict(request.data).items() if name != "stream"}
        run = _request_run(request, settings)
        if data["stream"]:
            head = {"id": run.pk, "url": run.get_absolute_url()}
            return sse.steering_stream(
                run.pk, run.model_id, head=f"event: run\ndata: {json.dumps(head)}\n\n"
            )
        if not steering_runs.wait(run.pk, LONGEST_WAIT):
            raise Unanswered(
                f"Run {run.pk} is still under way. Ask the same again, or with `stream`."
            )
        view = run_views.view(run.pk)
        if view.run.state == SteeringRun.State.FAILED and view.run.error:
            raise ValidationError(
                {view.run.error["field"] or "features": [view.run.error["message"]]}
            )
        return Response(
            SteeringSerializer(steering(view, judgement_selectors.judgements(run.pk))).data
        )


def _request_run(request: Request, settings: dict[str, object]) -> SteeringRun:
    try:
        return steering_runs.request_run(SteerForm.checked(settings), requester(request))
    except steering_runs.TooManyRuns as error:
        raise Throttled(detail=str(error)) from None
