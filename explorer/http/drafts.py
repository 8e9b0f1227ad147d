"""What people write on pages: refused text stays in its form, and a visitor's waits until they have
signed in.
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
from features.selectors import labels as label_selectors
from features.services.labels import Changed, Refused

SESSION_KEY = "draft"
MOST_CHARACTERS = 20_000
SUSPENDED = "Your account is suspended: it cannot write. Ask a curator of this instance."


class Draft(NamedTuple):
    """What somebody wrote in the form of that name, and why it was not taken; `newer` is the label
    as others left it.
    """

    form: str
    text: str
    error: str = ""
    newer: Label | None = None
    note: str = ""


NO_DRAFT = Draft("", "")


def try_to_write(request: HtmxRequest, form: str, act: Callable[[], object]) -> Draft | None:
    """Do it for who may write. None where it was done, else what to show beside the text. For who
    is signed in.
    """
    text, note = (
        request.POST.get("text", "")[:MOST_CHARACTERS],
        request.POST.get("note", "")[:MOST_CHARACTERS],
    )
    if not may_write(request.user):
        return Draft(form, text, SUSPENDED, note=note)
    try:
        act()
    except Changed as late:
        return Draft(form, text, late.message, late.label, note)
    except Refused as refused:
        return Draft(form, text, refused.message, note=note)
    return None


def redirect_to_sign_in(request: HtmxRequest, form: str, back: str) -> HttpResponseBase:
    """Send a visitor to sign in and then `back`, where their text waits in the form."""
    text, note = (
        request.POST.get("text", "")[:MOST_CHARACTERS],
        request.POST.get("note", "")[:MOST_CHARACTERS],
    )
    request.session[SESSION_KEY] = {
        "at": urlsplit(back).path,
        "form": form,
        "text": text,
        "note": note,
    }
    response = redirect_to_login(back)
    return HttpResponseClientRedirect(response["Location"]) if request.htmx else response


def take_draft(request: HtmxRequest) -> Draft:
    """What its writer had begun at this address before they signed in; it is shown once."""
    kept: Mapping[str, Any] | None = (
        request.session.get(SESSION_KEY) if request.user.is_authenticated else None
    )
    if not kept or kept["at"] != request.path:
        return NO_DRAFT
    del request.session[SESSION_KEY]
    if not kept["text"]:
        return NO_DRAFT
    return Draft(
        kept["form"],
        kept["text"],
        "You are signed in now; this is what you wrote.",
        note=kept["note"],
    )


def labels_context(request: HtmxRequest, feature: Feature, draft: Draft) -> dict[str, Any]:
    """What the templates of labels read."""
    said = label_selectors.of_feature(feature, request.user.pk, hidden=may_curate(request.user))
    context = {"said": said, "feature": feature, "sae": feature.sae, "draft": draft}
    return context if draft.form in _form_names(said, request.user) else context | {"astray": draft}


def _form_names(said: label_selectors.FeatureLabels, visitor: Visitor) -> set[str]:
    """Names of the forms that the page has: where the one that somebody wrote in is gone, their
    text is shown above.
    """
    entries = list(said.thread)
    for entry in entries:
        entries.extend(entry.replies)
    comments = [
        entry.comment for entry in entries if not (entry.comment.deleted or entry.comment.hidden)
    ]
    return {
        "", "propose", "comment",
        *(f"{name}-{label.pk}" for label in said.labels for name in ("label", "flag")),
        *(f"edit-{label.pk}" for label in said.labels if may_edit_label(visitor, label)),
        *(f"{name}-{comment.pk}" for comment in comments for name in ("reply", "flag-comment")),
        *(f"comment-{comment.pk}" for comment in comments if may_edit_comment(visitor, comment)),
    }  # fmt: skip


def posted_number(request: HtmxRequest, name: str) -> int:
    """A whole number of the form, 0 where it is none."""
    given = request.POST.get(name, "")[:20]
    return int(given) if given.isdecimal() and given.isascii() and len(given) < 19 else 0
