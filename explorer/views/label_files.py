"""Files of labels: download those of an SAE, upload a file, undo an upload."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from explorer import access
from explorer.access import members_only
from explorer.forms.drafts import SUSPENDED
from explorer.forms.labels import UploadForm
from explorer.http.requests import HtmxRequest, page
from explorer.views.activity import tabs
from explorer.views.catalog import find_sae
from features.db import keyset
from features.interchange import labels as label_files
from features.interchange import tables
from features.models import Label
from features.records import InvalidInput
from features.services import uploads as upload_services

PAGE = 20


@require_safe
def download(request: HtmxRequest, model: str, sae: str) -> HttpResponse:
    """All labels of an SAE with scores and votes, as a file."""
    owner, kind = find_sae(model, sae), request.GET.get("format", "csv")
    if kind not in tables.FORMATS:
        raise Http404(f"There is no format “{kind[:20]}”. There are csv, jsonl and parquet.")
    data = tables.write(label_files.rows_of(owner), label_files.COLUMNS, kind)
    response = HttpResponse(data, content_type=tables.FORMATS[kind][1])
    response["Content-Disposition"] = f'attachment; filename="{model}-{sae}-labels.{kind}"'
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def index(request: HtmxRequest) -> HttpResponseBase:
    """Uploads, newest first, and the form of a new one. A POST checks the whole file before it
    writes.
    """
    form = UploadForm(
        request.POST or None, request.FILES or None, initial={"sae": request.GET.get("sae", "")}
    )
    wrong: list[str] = []
    if request.method == "POST":
        if not access.may_write(request.user):
            wrong = [SUSPENDED]
        elif form.is_valid():
            try:
                return _upload(request, form)
            except InvalidInput as error:
                wrong = error.messages
    uploads = upload_services.uploads()
    listed, _ = keyset.page_or_first(
        lambda cursor: keyset.page(uploads, ["-id"], limit=PAGE, cursor=cursor, of="uploads"),
        request.GET.get("cursor", ""),
    )
    context = {
        "form": form,
        "wrong": wrong,
        "uploads": listed.rows,
        "next": listed.next,
        "columns": label_files.COLUMNS,
    }
    return page(
        request,
        "labels/files.html",
        context | tabs(request),
        status=422 if form.errors or wrong else 200,
    )


@require_safe
def show(request: HtmxRequest, pk: int) -> HttpResponse:
    """One upload: its labels, and whether it was undone."""
    upload = _find(pk)
    rows = Label.objects.filter(upload=upload).select_related("feature__sae__model", "author")
    context = {
        "upload": upload,
        "labels": rows.order_by("feature__index", "id")[:PAGE],
        "remaining": rows.count(),
        "may_undo": access.may_undo(request.user, upload) and not upload.undone,
    }
    return page(request, "labels/upload.html", context | tabs(request))


@require_POST
@members_only
def undo(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Undo an upload; labels that users have changed since stay."""
    upload = _find(pk)
    if not access.may_undo(request.user, upload):
        raise PermissionDenied("Only curators and the user who uploaded a file may undo it.")
    try:
        result = upload_services.undo(upload, by=request.user)
        note = (
            f" {result.kept:,} stay, as people have edited, voted on or discussed them since."
            if result.kept
            else ""
        )
        messages.success(request, f"Undone: {result.removed:,} labels removed.{note}")
    except InvalidInput as error:
        messages.error(request, error.message)
    return redirect(upload)


def _upload(request: HtmxRequest, form: UploadForm) -> HttpResponseBase:
    file, sae = form.cleaned_data["file"], form.cleaned_data["sae"]
    rows = tables.parse_table(file.read(), tables.format_of(file.name))
    weight, trusted = access.weight(request.user), access.may_curate(request.user)
    upload = upload_services.upload(
        sae, file.name, rows, by=request.user, weight=weight, trusted=trusted
    )
    existing = upload.rows - upload.added
    note = f" {existing:,} existed already; those by people got your vote." if existing else ""
    messages.success(request, f"{upload.added:,} labels added.{note}")
    return redirect(upload)


def _find(pk: int) -> Any:
    upload = upload_services.uploads().filter(pk=pk).first()
    if upload is None:
        raise Http404(f"There is no upload {pk}.")
    return upload
