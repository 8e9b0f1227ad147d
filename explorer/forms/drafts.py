"""Texts that users write on pages: rejected text stays in its form, and a visitor's text is stored
until they have signed in.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponseBase
from django_htmx.http import HttpResponseClientRedirect

from explorer.access import Visitor, may_curate, may_edit_comment, may_edit_label, may_write
from explorer.http.requests import HtmxRequest
from features.models import Feature, Label
from features.records import InvalidInput
from features.selectors import labels as label_selectors
from features.services.labels import Changed

SESSION_KEY = "draft"
MAX_CHARACTERS = 20_000
SUSPENDED = "Your account is suspended: it cannot write. Ask a curator of this instance."


class Draft(NamedTuple):
    """The text of a form, and the error that it caused; `newer` is the label as others changed it
    in the meantime.
    """

    form: str
    text: str
    error: str = ""
    newer: Label | None = None
    note: str = ""


NO_DRAFT = Draft("", "")


def try_to_write(request: HtmxRequest, form: str, write: Callable[[], object]) -> Draft | None:
    """Call `write` if the user may write. None if it succeeded, else the draft to show with its
    error. The user must be signed in.
    """
    draft = _posted_draft(request, form)
    if not may_write(request.user):
        return draft._replace(error=SUSPENDED)
    try:
        write()
    except Changed as changed:
        return draft._replace(error=changed.message, newer=changed.label)
    except InvalidInput as error:
        return draft._replace(error=error.message)
    return None


def redirect_to_sign_in(request: HtmxRequest, form: str, back: str) -> HttpResponseBase:
    """Store the visitor's text, and send them to sign in and then `back`, where `take_draft` finds
    it.
    """
    draft = _posted_draft(request, form)
    request.session[SESSION_KEY] = {
        "at": urlsplit(back).path,
        "form": form,
        "text": draft.text,
        "note": draft.note,
    }
    response = redirect_to_login(back)
    return HttpResponseClientRedirect(response["Location"]) if request.htmx else response


def take_draft(request: HtmxRequest) -> Draft:
    """The text that the user wrote on this page before signing in, removed from the session."""
    stored: Mapping[str, Any] | None = (
        request.session.get(SESSION_KEY) if request.user.is_authenticated else None
    )
    if not stored or stored["at"] != request.path:
        return NO_DRAFT
    del request.session[SESSION_KEY]
    if not stored["text"]:
        return NO_DRAFT
    message = "You are signed in now; this is what you wrote."
    return Draft(stored["form"], stored["text"], message, note=stored["note"])


def labels_context(request: HtmxRequest, feature: Feature, draft: Draft) -> dict[str, Any]:
    """The context of the templates that show a feature's labels and comments."""
    labels = label_selectors.of_feature(feature, request.user.pk, hidden=may_curate(request.user))
    context = {"feature_labels": labels, "feature": feature, "sae": feature.sae, "draft": draft}
    if draft.form in _form_names(labels, request.user):
        return context
    return context | {"unplaced_draft": draft}


def posted_number(request: HtmxRequest, name: str) -> int:
    """A posted integer; 0 if it is missing or no integer."""
    value = request.POST.get(name, "")[:20]
    return int(value) if value.isdecimal() and value.isascii() and len(value) < 19 else 0


def _posted_draft(request: HtmxRequest, form: str) -> Draft:
    text, note = (request.POST.get(name, "")[:MAX_CHARACTERS] for name in ("text", "note"))
    return Draft(form, text, note=note)


def _form_names(labels: label_selectors.FeatureLabels, visitor: Visitor) -> set[str]:
    """Names of the forms on the page. A draft without one is shown above the labels."""
    entries = list(labels.thread)
    for entry in entries:
        entries.extend(entry.replies)
    comments = [
        entry.comment for entry in entries if not (entry.comment.deleted or entry.comment.hidden)
    ]
    return {
        "", "propose", "comment",
        *(f"{name}-{label.pk}" for label in labels.labels for name in ("label", "flag")),
        *(f"edit-{label.pk}" for label in labels.labels if may_edit_label(visitor, label)),
        *(f"{name}-{comment.pk}" for comment in comments for name in ("reply", "flag-comment")),
        *(f"comment-{comment.pk}" for comment in comments if may_edit_comment(visitor, comment)),
    }  # fmt: skip
