"""Word lists of users, which become concepts when features are labelled."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from explorer import access
from explorer.access import members_only
from explorer.forms.drafts import SUSPENDED
from explorer.http.requests import HtmxRequest, page
from explorer.views.activity import tabs
from features.models import WordList
from features.selectors import word_lists as word_list_selectors
from features.services.word_lists import WordListForm

SHOWN = 500
"""Lists on the page, and entries of one."""


@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HtmxRequest) -> HttpResponseBase:
    """The stored lists; members add one."""
    if request.method == "POST":
        return _add(request)
    return _render_word_lists(request, WordListForm())


@require_safe
def show(request: HtmxRequest, slug: str) -> HttpResponse:
    """One list with its entries."""
    word_list = _find(slug)
    context = {
        "list": word_list,
        "entries": word_list.entries[:SHOWN],
        "more": max(len(word_list.entries) - SHOWN, 0),
        "may_delete": access.may_delete_list(request.user, word_list),
        "may_start_jobs": access.may_start_jobs(request.user),
    }
    return page(request, "labels/word_list.html", context | tabs(request))


@require_POST
@members_only
def delete(request: HtmxRequest, slug: str) -> HttpResponseBase:
    """Delete a list; labels that were learned with it stay."""
    word_list = _find(slug)
    if not access.may_delete_list(request.user, word_list):
        raise PermissionDenied("Only its owner and curators may delete a list.")
    word_list.delete()
    messages.success(request, f"{slug} is deleted. Labels that were learned with it stay.")
    return redirect("word_lists")


@members_only
def _add(request: HtmxRequest) -> HttpResponseBase:
    form = WordListForm(request.POST, request.FILES)
    if not access.may_write(request.user):
        form.add_error(None, SUSPENDED)
    if form.is_valid():
        word_list = form.save_for(request.user)
        messages.success(request, f"{word_list} is saved, with {len(word_list.entries):,} entries.")
        return redirect(word_list)
    return _render_word_lists(request, form)


def _find(slug: str) -> WordList:
    word_list = word_list_selectors.whole().filter(slug=slug).first()
    if word_list is None:
        raise Http404(f"There is no word list “{slug[:60]}”.")
    return word_list


def _render_word_lists(request: HtmxRequest, form: WordListForm) -> HttpResponse:
    context = {"form": form, "lists": word_list_selectors.list_word_lists()[:SHOWN]}
    return page(
        request,
        "labels/word_lists.html",
        context | tabs(request),
        status=422 if form.errors else 200,
    )
