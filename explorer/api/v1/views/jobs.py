"""Jobs: the kinds that there are, and starting, watching and cancelling them."""

from collections.abc import Sequence
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explorer.api.v1 import examples
from explorer.api.v1.base import get_or_404
from explorer.api.v1.exceptions import Conflict
from explorer.api.v1.pagination import page_of, paginated_response, with_query
from explorer.api.v1.parsing import parse_body, parse_query
from explorer.api.v1.permissions import MayCancel, MayStartJobs
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.job_kinds import KindSerializer, kind, wrong_types
from explorer.api.v1.serializers.jobs import (
    EventQuery,
    JobEventSerializer,
    JobQuery,
    JobRequestSerializer,
    JobSerializer,
)
from features.jobs import lifecycle
from features.jobs.forms import JOB_FORMS
from features.jobs.forms.placement import OPTIONS
from features.records import InvalidParams
from features.selectors import jobs as job_selectors
from features.services import jobs as job_services


class Kinds(APIView):
    """Kinds of job."""

    @operation("list_kinds", page_of(KindSerializer))
    def get(self, request: Request) -> Response:
        """List the kinds of job with their settings, defaults and ranges."""
        parse_query(request)
        return Response(
            {
                "next": None,
                "results": KindSerializer(
                    [kind(form) for form in JOB_FORMS.values()], many=True
                ).data,
            }
        )


class Jobs(APIView):
    """Jobs."""

    def get_permissions(self) -> Sequence[Any]:
        """Everyone reads, staff starts."""
        return [MayStartJobs()] if self.request.method == "POST" else super().get_permissions()

    @operation("list_jobs", page_of(JobSerializer), parameters=[JobQuery])
    def get(self, request: Request) -> Response:
        """List jobs, newest first."""
        query = parse_query(request, JobQuery)
        return paginated_response(
            request,
            job_selectors.jobs(query.get("kind", ""), query.get("state", "")),
            ["-id"],
            query,
            JobSerializer,
        )

    @operation(
        "start_job",
        JobSerializer,
        403,
        413,
        415,
        success=201,
        request=JobRequestSerializer,
        examples=examples.JOB,
    )
    def post(self, request: Request) -> Response:
        """Start a job (staff). The settings are those of its page; wrong ones are refused before
        anything is queued.
        """
        data = parse_body(request, JobRequestSerializer)
        name, params = data["kind"], data["params"]
        if wrong := wrong_types(JOB_FORMS[name], params):
            raise _refusal(wrong)
        placing = {name: data[name] for name in OPTIONS}
        try:
            job = job_services.start(name, params, by=request.user, placing=placing)
        except InvalidParams as error:
            raise _refusal(error.errors) from None
        return Response(
            JobSerializer(job).data, status=201, headers={"Location": f"{request.path}{job.pk}/"}
        )


class Job(APIView):
    """One job."""

    @operation("get_job", JobSerializer, 404)
    def get(self, request: Request, pk: int) -> Response:
        """Get a job: how far it is, and how it ended."""
        parse_query(request)
        return Response(JobSerializer(_job(pk)).data)


class Events(APIView):
    """What happened to a job."""

    @operation("list_job_events", page_of(JobEventSerializer), 404, parameters=[EventQuery])
    def get(self, request: Request, pk: int) -> Response:
        """List what happened to a job, oldest first. To watch it, ask again with `after` set to the
        last id you have.
        """
        query = parse_query(request, EventQuery)
        _job(pk)
        limit = query["limit"]
        rows = list(
            job_selectors.events(pk, after=query["after"], kind=query.get("kind", ""))[: limit + 1]
        )
        more = with_query(request, after=rows[limit - 1].pk) if len(rows) > limit else None
        return Response({"next": more, "results": JobEventSerializer(rows[:limit], many=True).data})


class Cancel(APIView):
    """Stopping a job."""

    permission_classes = [MayCancel]

    @operation("cancel_job", JobSerializer, 403, 404, 409, request=None)
    def post(self, request: Request, pk: int) -> Response:
        """Cancel a job (staff, or who started it): at once where it waits, within seconds where it
        runs.
        """
        parse_query(request)
        job = _job(pk)
        self.check_object_permissions(request, job)
        lifecycle.cancel(pk, by=request.user)
        job = _job(pk)
        if job.over and job.state != job.State.CANCELLED:
            raise Conflict(
                f"Job {pk} is over: it "
                f"{'has finished' if job.state == job.State.FINISHED else 'failed'}."
            )
        return Response(JobSerializer(job).data)


class Resume(APIView):
    """Going on with a job that was cancelled or failed."""

    permission_classes = [MayStartJobs]

    @operation("resume_job", JobSerializer, 403, 404, 409, success=201, request=None)
    def post(self, request: Request, pk: int) -> Response:
        """Start a job that goes on from the last checkpoint of training that was cancelled or
        failed (staff).
        """
        parse_query(request)
        _job(pk)
        try:
            job = job_services.resume(pk, by=request.user)
        except InvalidParams as error:
            raise Conflict(" ".join(error.messages)) from None
        where = request.path.replace(f"/{pk}/resume/", f"/{job.pk}/")
        return Response(JobSerializer(job).data, status=201, headers={"Location": where})


def _job(pk: int) -> Any:
    return get_or_404(lambda pk: job_selectors.every().get(pk=pk), pk, noun="job")


def _refusal(errors: dict[str, list[str]]) -> ValidationError:
    """The form's errors under the names that they have in the request's body."""
    return ValidationError(
        {
            "params" if name == "__all__" else f"params.{name}": texts
            for name, texts in errors.items()
        }
    )
