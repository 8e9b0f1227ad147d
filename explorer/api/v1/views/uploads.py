"""Label files: upload, list and undo, with the services that the pages use."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from explorer import access
from explorer.api.v1.base import MembersWriteView, get_or_404
from explorer.api.v1.exceptions import Conflict
from explorer.api.v1.fields import PageQuery
from explorer.api.v1.pagination import page_of, paginated_response
from explorer.api.v1.parsing import parse_body, parse_query
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.uploads import UploadRequestSerializer, UploadSerializer
from features.interchange import tables
from features.models import LabelUpload
from features.records import InvalidInput
from features.selectors import catalog as catalog_selectors
from features.services import uploads as upload_services


class Uploads(MembersWriteView):
    """Files of labels."""

    parser_classes = [MultiPartParser]

    @operation("list_uploads", page_of(UploadSerializer), parameters=[PageQuery])
    def get(self, request: Request) -> Response:
        """List files of labels, newest first."""
        return paginated_response(
            request,
            upload_services.uploads(),
            ["-id"],
            parse_query(request, PageQuery),
            UploadSerializer,
        )

    @operation(
        "upload_labels", UploadSerializer, 403, 404, 415, success=201,
        request={"multipart/form-data": UploadRequestSerializer},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Send a file of labels (members), as `multipart/form-data`: it is checked whole, and
        written whole or not at all.
        """
        data = parse_body(request, UploadRequestSerializer)
        sae = get_or_404(catalog_selectors.sae, data["model"], data["sae"], noun="SAE")
        weight, trusted = access.weight(request.user), access.may_curate(request.user)
        try:
            rows = _rows(data["file"])
            made = upload_services.upload(
                sae, data["file"].name, rows, by=request.user, weight=weight, trusted=trusted
            )
        except InvalidInput as error:
            raise ValidationError({"file": error.messages}) from None
        return Response(
            _upload_data(made.pk), status=201, headers={"Location": f"{request.path}{made.pk}/"}
        )


class Upload(MembersWriteView):
    """One file of labels."""

    @operation("get_upload", UploadSerializer, 404)
    def get(self, request: Request, pk: int) -> Response:
        """Get what a file added, and whether it was taken back."""
        parse_query(request)
        return Response(_upload_data(pk))


class Undo(MembersWriteView):
    """Taking a file back."""

    @operation("undo_upload", UploadSerializer, 403, 404, 409, request=None)
    def post(self, request: Request, pk: int) -> Response:
        """Take a file back as a whole (who sent it, curators): what people touched since stays, and
        `kept` counts it.
        """
        parse_query(request)
        upload = _find(pk)
        if not access.may_undo(request.user, upload):
            raise PermissionDenied("Only curators and the user who uploaded a file may undo it.")
        try:
            upload_services.undo(upload, by=request.user)
        except InvalidInput as error:
            raise Conflict(error.message) from None
        return Response(_upload_data(pk))


def _rows(file: "UploadedFile[bytes]") -> Sequence[Mapping[str, Any]]:
    kind = tables.fitting(file.name or "", file.size or 0)
    return tables.parse_table(file.read(), kind)


def _find(pk: int) -> LabelUpload:
    return get_or_404(lambda pk: upload_services.uploads().get(pk=pk), pk, noun="upload")


def _upload_data(pk: int) -> Any:
    return UploadSerializer(_find(pk)).data
