"""Labels of a feature: propose, vote, edit, report, withdraw; a label's own page. Fragments for
htmx, else whole pages.
"""

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from explorer import access
from explorer.http.drafts import (
    NO_DRAFT,
    labels_context,
    posted_number,
    redirect_to_sign_in,
    try_to_write,
)
from explorer.http.requests import HtmxRequest, page
from explorer.views import features
from features.models import Feature, Label
from features.records import InvalidInput
from features.selectors import features as feature_selectors
from features.selectors import labels as label_selectors
from features.selectors import moderation as moderation_selectors
from features.services import labels as label_services
from features.services import moderation as moderation_services

VOTES = {"1": 1, "-1": -1, "0": 0}


@require_POST
def propose(request: HtmxRequest, model: str, sae: str, index: int) -> HttpResponseBase:
    """Somebody's label of a feature."""
    feature = find_row(model, sae, index)
    weight, text = access.weight(request.user), request.POST.get("text", "")
    return write(
        request,
        feature,
        "propose",
        lambda: label_services.propose(feature, text, by=request.user, weight=weight),
    )


@require_POST
def vote(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """For or against a label; the vote that is there already takes it back."""
    label, value = find(pk), VOTES.get(request.POST.get("value", ""))
    weight = access.weight(request.user)

    def act() -> None:
        if value is None:
            raise InvalidInput("value", "Vote for (1) or against (-1), or take your vote back (0).")
        label_services.vote(
            label,
            value,
            by=request.user,
            weight=weight,
            seen=posted_number(request, "version") or None,
        )

    return write(request, label.feature, f"label-{pk}", act)


@require_POST
def edit(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Other words for a label, of which the editor saw the version in the form."""
    label = find(pk)
    text, note = request.POST.get("text", ""), request.POST.get("note", "")

    def act() -> None:
        _may_edit(request, label)
        label_services.edit(
            label, text, seen=posted_number(request, "version"), by=request.user, note=note
        )

    return write(request, label.feature, f"edit-{pk}", act)


@require_POST
def withdraw(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Hide a label: its author takes it back, or a curator removes it; both can be restored."""
    label = find(pk)

    def act() -> None:
        _may_edit(request, label)
        moderation_services.hide(label, by=request.user, reason=request.POST.get("note", ""))

    return write(request, label.feature, f"label-{pk}", act)


@require_POST
def flag(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Report a label to the curators."""
    label = find(pk)
    return write(
        request,
        label.feature,
        f"flag-{pk}",
        lambda: moderation_services.flag(label, request.POST.get("text", ""), by=request.user),
        done="Reported. A curator will look at it.",
    )


@require_POST
def restore(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Show a label again that was hidden or merged."""
    label = find(pk)

    def act() -> None:
        must_curate(request)
        moderation_services.restore(label, by=request.user, reason=request.POST.get("note", ""))

    return write(request, label.feature, f"label-{pk}", act)


@require_POST
def merge(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """Put a label into another that means the same; who stood for it stands for that one."""
    label = find(pk)

    def act() -> None:
        must_curate(request)
        into = Label.objects.filter(pk=posted_number(request, "into")).first()
        if into is None:
            raise InvalidInput("into", "Choose the label to merge it into.")
        moderation_services.merge(label, into, by=request.user, reason=request.POST.get("note", ""))

    return write(request, label.feature, f"label-{pk}", act)


@require_safe
def show(request: HtmxRequest, pk: int) -> HttpResponseBase:
    """One label: its words, evidence, votes and history."""
    try:
        label = label_selectors.label(pk, request.user.pk)
    except Label.DoesNotExist:
        raise Http404(f"There is no label {pk}.") from None
    if label.state == Label.State.HIDDEN and not access.may_edit_label(request.user, label):
        raise Http404(f"Label {pk} is hidden.")
    trail = list(moderation_selectors.trail(label=label)) if access.may_curate(request.user) else []
    context = {"label": label, "feature": label.feature, "sae": label.feature.sae, "trail": trail}
    return page(request, "labels/label.html", context)


def find(pk: int) -> Label:
    """The label with its feature and SAE, or a 404."""
    label = Label.objects.select_related("feature__sae__model").filter(pk=pk).first()
    if label is None:
        raise Http404(
            f"There is no label {pk}. It was deleted meanwhile, with its feature or its upload."
        )
    return label


def find_row(model: str, sae: str, index: int) -> Feature:
    """The feature alone, or a 404 that says what there is."""
    try:
        return feature_selectors.row(model, sae, index)
    except (Feature.DoesNotExist, OverflowError):
        raise features.no_feature(model, sae, index) from None


def write(
    request: HtmxRequest,
    feature: Feature,
    form: str,
    act: Callable[[], object],
    *,
    done: str = "",
    talk: bool = False,
) -> HttpResponseBase:
    """Do what a form of the feature's page asks, and show its part anew: what was refused stays in
    the form.
    """
    back = f"{feature.get_absolute_url()}#{'talk' if talk else 'labels'}"
    if not request.user.is_authenticated:
        return redirect_to_sign_in(request, form, back)
    draft = try_to_write(request, form, act)
    model, sae = feature.sae.model.slug, feature.sae.slug
    if request.htmx:
        feature.refresh_from_db(fields=["label", "disputed"])
        context = labels_context(request, feature, draft or NO_DRAFT) | {
            "talk": talk,
            "done": "" if draft else done,
        }
        if not talk and (request.htmx.current_url_abs_path or "").startswith(
            feature.get_absolute_url()
        ):
            context |= {"outside": True, "view": features.find_feature(model, sae, feature.index)}
        return render(request, "labels/_fragments.html", context)
    if draft is None:
        if done:
            messages.success(request, done)
        return redirect(back)
    status = 409 if draft.newer else 422 if access.may_write(request.user) else 403
    return features.feature_page(request, model, sae, feature.index, draft, status)


def _may_edit(request: HtmxRequest, label: Label) -> None:
    if not access.may_edit_label(request.user, label):
        raise PermissionDenied(
            "Only its author and curators may change a label. Propose your own label instead."
        )


def must_curate(request: HtmxRequest) -> None:
    """Refuse who is no curator."""
    if not access.may_curate(request.user):
        raise PermissionDenied(
            "Only curators may do that. Ask the administrator of this instance to make you one."
        )
