"""explorer.access, as DRF asks for it."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from explorer.access import may_cancel, may_look, may_start_jobs, may_write


class MayLook(BasePermission):
    """Whether the caller may read."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Asked before every answer."""
        return may_look(request.user)


class MayWrite(BasePermission):
    """Whether the caller may write labels, votes and comments."""

    message = "Only members write here, and none that are suspended."

    def has_permission(self, request: Request, view: Any) -> bool:
        """Checked before the body is parsed."""
        return may_write(request.user)


class MayStartJobs(BasePermission):
    """Whether the caller may start jobs."""

    message = "Only staff may start jobs."

    def has_permission(self, request: Request, view: Any) -> bool:
        """Checked before the body is parsed."""
        return may_start_jobs(request.user)


class MayCancel(BasePermission):
    """Whether the caller may cancel this job."""

    message = "Only staff, and who started the job, may cancel it."

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        """Checked when the job has been loaded."""
        return may_cancel(request.user, obj)
