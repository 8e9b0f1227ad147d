"""Collections: lists, one with its features, and putting features into them."""

from collections.abc import Sequence

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from explorer import access
from explorer.forms.collections import CollectForm, CollectionForm
from explorer.forms.drafts import posted_number
from explorer.http.requests import HtmxRequest
from features.db import keyset
from features.interchange import tables
from features.models import Collection, CollectionItem
from features.records import InvalidInput
from features.selectors import collections as collection_selectors
from features.services import collections as collection_services

PAGE = 50
MAX_SHOWN = 8
"""Features that the page of `add` names; the rest it counts."""


@require_safe
def index(request: HtmxRequest) -> HttpResponse:
    """Public collections, or the user's own (`?mine=1`)."""
    return _index(request, CollectionForm(), mine=bool(request.GET.get("mine")))


@access.writers_only
@require_POST
def create(request: HtmxRequest) -> HttpResponse:
    form = CollectionForm(request.POST)
    if form.is_valid():
        try:
            return redirect(collection_services.create(**form.cleaned_data, by=request.user))
        except InvalidInput as error:
            form.add_error(error.field, error.message)
    return _index(request, form, mine=True, status=422)


@require_safe
def show(request: HtmxRequest, pk: int) -> HttpResponse:
    return _show(request, _find(request, pk))


@access.writers_only
@require_POST
def edit(request: HtmxRequest, pk: int) -> HttpResponse:
    """Change name, description or visibility."""
    row = _own(request, pk)
    form = CollectionForm(request.POST)
    if form.is_valid():
        try:
            collection_services.change(row, **form.cleaned_data)
            return redirect(row)
        except InvalidInput as error:
            form.add_error(error.field, error.message)
    return _show(request, row, form, status=422)


@access.writers_only
@require_POST
def delete(request: HtmxRequest, pk: int) -> HttpResponse:
    """Delete a collection, not its features."""
    row = _own(request, pk)
    row.delete()
    messages.success(request, f"“{row.name}” is deleted.")
    return redirect("/collections/?mine=1")


@access.writers_only
@require_POST
def change_item(request: HtmxRequest, pk: int, item: int) -> HttpResponse:
    """Move a feature (`place`), note something on it (`note`), or take it out (`remove`)."""
    row = _own(request, pk)
    item_row = (
        CollectionItem.objects.filter(collection=row, pk=item).select_related("collection").first()
    )
    if item_row is None:
        messages.error(request, "That feature is not in the collection any more.")
        return redirect(row)
    try:
        if "remove" in request.POST:
            collection_services.remove(item_row)
            return redirect(row)
        if "note" in request.POST:  # it comes along with every button of its form
            collection_services.annotate(item_row, request.POST["note"])
        if "place" in request.POST:
            collection_services.move(item_row, posted_number(request, "place"))
    except InvalidInput as error:
        messages.error(request, error.message)
    return redirect(f"{row.get_absolute_url()}#item-{item}")


@access.writers_only
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HtmxRequest) -> HttpResponseBase:
    """Add features (`feature`, several times) to a collection, which the page asks for first."""
    sent = request.POST if request.method == "POST" else request.GET
    chosen = "collection" in request.POST or "name" in request.POST
    mine = list(collection_selectors.list_collections(request.user.pk, mine=True))
    form = CollectForm(request.POST if chosen else None, mine)
    names, wrong = sent.getlist("feature"), ""
    try:
        features = collection_services.named(names)
        if chosen and form.is_valid():
            return redirect(_put(request, form, features))
    except InvalidInput as error:
        if error.field in form.fields and chosen:
            form.add_error(error.field, error.message)
        else:
            wrong = error.message
    flat = [
        f"{head}/{i}"
        for name in names
        for head, _, tail in [name.rpartition("/")]
        for i in tail.split(",")
    ]
    context = {
        "form": form,
        "names": names,
        "shown": flat[:MAX_SHOWN],
        "count": len(flat),
        "wrong": wrong,
        "mine": mine,
    }
    return render(
        request, "collections/add.html", context, status=422 if form.errors or wrong else 200
    )


@require_safe
def download(request: HtmxRequest, pk: int, form: str) -> HttpResponse:
    """The items as JSON or CSV."""
    row = _find(request, pk)
    rows = [collection_selectors.item_row(item) for item in collection_selectors.items(row)]
    if form == "json":
        about = {"id": row.pk, "name": row.name, "about": row.about, "owner": str(row.owner)}
        response: HttpResponse = JsonResponse(
            {**about, "features": rows}, json_dumps_params={"ensure_ascii": False}
        )
    elif form == "csv":
        columns = ["model", "sae", "index", "label", "density", "max_activation", "note"]
        response = HttpResponse(
            tables.write(rows, columns, "csv"), content_type=tables.FORMATS["csv"][1]
        )
    else:
        raise Http404(f"A collection can be downloaded as .json or .csv, not as .{form}.")
    response["Content-Disposition"] = f'attachment; filename="collection-{pk}.{form}"'
    return response


@transaction.atomic
def _put(request: HtmxRequest, form: CollectForm, features: Sequence[int]) -> Collection:
    """The collection with the features added. A new one is not created if they do not fit."""
    data = form.cleaned_data
    into = form.mine.get(data["collection"]) or collection_services.create(
        data["name"], by=request.user, public=data["public"]
    )
    new = collection_services.add(into, features, note=data["note"])
    existing = len(features) - new
    note = f", {existing:,} already in it" if existing else ""
    messages.success(request, f"{new:,} added{note}.")
    return into


def _index(
    request: HtmxRequest, form: CollectionForm, *, mine: bool, status: int = 200
) -> HttpResponse:
    mine = mine and request.user.is_authenticated
    rows = collection_selectors.list_collections(request.user.pk, mine=mine)
    of = f"collections of {request.user.pk if mine else 'all'}"
    page, wrong = keyset.page_or_first(
        lambda cursor: keyset.page(rows, ["-id"], limit=PAGE, cursor=cursor, of=of),
        request.GET.get("cursor", ""),
    )
    context = {"page": page, "mine": mine, "form": form, "wrong": wrong}
    return render(request, "collections/index.html", context, status=status)


def _show(
    request: HtmxRequest, row: Collection, form: CollectionForm | None = None, status: int = 200
) -> HttpResponse:
    own = access.may_change_collection(request.user, row)
    context = {
        "collection": row,
        "items": collection_selectors.items(row),
        "own": own,
        "form": form or CollectionForm(instance=row),
    }
    return render(request, "collections/collection.html", context, status=status)


def _find(request: HtmxRequest, pk: int) -> Collection:
    try:
        return collection_selectors.collection(pk, request.user.pk)
    except Collection.DoesNotExist:
        raise Http404(f"There is no collection {pk}, or it is private.") from None


def _own(request: HtmxRequest, pk: int) -> Collection:
    """A collection that the user may change. Else a 403, or a 404 if they may not see it."""
    row = _find(request, pk)
    if not access.may_change_collection(request.user, row):
        raise PermissionDenied("Only its owner may change a collection.")
    return row
