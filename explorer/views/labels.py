"""Labels of a feature: propose, vote, edit, report, withdraw; the page of a label. For htmx
fragments, else whole pages.
"""

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from explorer import access
from explorer.forms.drafts import (
    NO_DRAFT,
    Draft,
    labels_context,
    posted_number,
    redirect_to_sign_in,
    try_to_write,
)
from explorer.http.requests import HtmxRequest, page
from explorer.views import features
from features.models import Comment, Feature, Label
from features.records import InvalidInput
from features.selectors import labels as label_selectors
from features.selectors import moderation as moderation_selectors
from features.services import labels as label_services
from features.services import moderation as moderation_services

VOTES = {"1": 1, "-1": -1, "0": 0}


@require_POST
def propose(request: HtmxRequest, model: str, sae: str, index: int) -> HttpResponseBase:
    feature = features.find_row(model, sae, index)
    weight, text = access.weight(request.user), request.POST.get("text", "")
    return write(
        request,
        feature,
        "propose",
        lambda: label_services.propose(feature, text, by=request.user, weight=weight),
    )


@require_POST
def vote(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Vote for or against a label, or take the vote back."""
    label, value = find_label(pk), VOTES.get(request.POST.get("value", ""))
    weight = access.weight(request.user)

    def save_vote() -> None:
        if value is None:
            raise InvalidInput("value", "Vote for (1) or against (-1), or take your vote back (0).")
        label_services.vote(
            label,
            value,
            by=request.user,
            weight=weight,
            seen=posted_number(request, "version") or None,
        )

    return write(request, label.feature, f"label-{pk}", save_vote)


@require_POST
def edit(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Change the text of a label; the form names the version that the editor saw."""
    label = find_label(pk)
    text, note = request.POST.get("text", ""), request.POST.get("note", "")

    def save_text() -> None:
        _may_edit(request, label)
        label_services.edit(
            label, text, seen=posted_number(request, "version"), by=request.user, note=note
        )

    return write(request, label.feature, f"edit-{pk}", save_text)


@require_POST
def withdraw(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Hide a label, by its author or a curator; a curator can restore it."""
    label = find_label(pk)

    def hide_label() -> None:
        _may_edit(request, label)
        moderation_services.hide(label, by=request.user, reason=request.POST.get("note", ""))

    return write(request, label.feature, f"label-{pk}", hide_label)


@require_POST
def flag(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Report a label to the curators."""
    label = find_label(pk)
    return report(request, label, f"flag-{pk}")


@require_POST
def restore(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Show a hidden or merged label again."""
    label = find_label(pk)

    def show_label() -> None:
        must_curate(request)
        moderation_services.restore(label, by=request.user, reason=request.POST.get("note", ""))

    return write(request, label.feature, f"label-{pk}", show_label)


@require_POST
def merge(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Merge a label into one of the same meaning, with its author and votes."""
    label = find_label(pk)

    def merge_labels() -> None:
        must_curate(request)
        into = Label.objects.filter(pk=posted_number(request, "into")).first()
        if into is None:
            raise InvalidInput("into", "Choose the label to merge it into.")
        moderation_services.merge(label, into, by=request.user, reason=request.POST.get("note", ""))

    return write(request, label.feature, f"label-{pk}", merge_labels)


@require_safe
def show(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """The page of one label: text, evidence, votes and history."""
    try:
        label = label_selectors.label_with_history(pk, request.user.pk)
    except Label.DoesNotExist:
        raise Http404(f"There is no label {pk}.") from None
    if label.state == Label.State.HIDDEN and not access.may_edit_label(request.user, label):
        raise Http404(f"Label {pk} is hidden.")
    log = list(moderation_selectors.trail(label=label)) if access.may_curate(request.user) else []
    context = {"label": label, "feature": label.feature, "sae": label.feature.sae, "log": log}
    return page(request, "labels/label.html", context)


def find_label(pk: int) -> Label:
    """The label with its feature and SAE, or a 404."""
    label = Label.objects.select_related("feature__sae__model").filter(pk=pk).first()
    if label is None:
        raise Http404(
            f"There is no label {pk}. It was deleted meanwhile, with its feature or its upload."
        )
    return label


def report(
    request: HtmxRequest, target: Label | Comment, form: str, *, talk: bool = False
) -> HttpResponseBase:
    """Report a label or comment to the curators."""
    return write(
        request,
        target.feature,
        form,
        lambda: moderation_services.flag(target, request.POST.get("text", ""), by=request.user),
        confirmation="Reported. A curator will look at it.",
        talk=talk,
    )


def write(
    request: HtmxRequest,
    feature: Feature,
    form: str,
    change: Callable[[], object],
    *,
    confirmation: str = "",
    talk: bool = False,
) -> HttpResponseBase:
    """Make the `change` that a form of the feature's page posts, and render the part of the page
    with the form: the labels, or with `talk` the comments. Rejected text stays in the form.
    """
    back = f"{feature.get_absolute_url()}#{'talk' if talk else 'labels'}"
    if not request.user.is_authenticated:
        return redirect_to_sign_in(request, form, back)
    draft = try_to_write(request, form, change)
    if request.htmx:
        return _fragment(request, feature, draft, confirmation=confirmation, talk=talk)
    if draft is None:
        if confirmation:
            messages.success(request, confirmation)
        return redirect(back)
    status = 409 if draft.newer else 422 if access.may_write(request.user) else 403
    model, sae = feature.sae.model.slug, feature.sae.slug
    return features.feature_page(request, model, sae, feature.index, draft, status)


def _fragment(
    request: HtmxRequest, feature: Feature, draft: Draft | None, *, confirmation: str, talk: bool
) -> HttpResponseBase:
    """The labels or comments; on the feature's page with the other parts that show its label."""
    feature.refresh_from_db(fields=["label", "disputed"])
    context = labels_context(request, feature, draft or NO_DRAFT)
    context |= {"talk": talk, "confirmation": "" if draft else confirmation}
    url = feature.get_absolute_url()
    if not talk and (request.htmx.current_url_abs_path or "").startswith(url):
        view = features.find_feature(feature.sae.model.slug, feature.sae.slug, feature.index)
        context |= {"outside": True, "view": view}
    return render(request, "labels/_fragments.html", context)


def _may_edit(request: HtmxRequest, label: Label) -> None:
    if not access.may_edit_label(request.user, label):
        raise PermissionDenied(
            "Only its author and curators may change a label. Propose your own label instead."
        )


def must_curate(request: HtmxRequest) -> None:
    if not access.may_curate(request.user):
        raise PermissionDenied(
            "Only curators may do that. Ask the administrator of this instance to make you one."
        )
