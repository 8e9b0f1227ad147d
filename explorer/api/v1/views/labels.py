"""Labels and votes: read by everyone, written by members with the services that pages use."""

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from explorer import access
from explorer.api.v1.base import MembersWriteView, get_or_404
from explorer.api.v1.pagination import page_of, paginated_response
from explorer.api.v1.parsing import parse_body, parse_query
from explorer.api.v1.serializers.errors import operation
from explorer.api.v1.serializers.labels import (
    LabelDetailSerializer,
    LabelEditRequestSerializer,
    LabelRequestSerializer,
    LabelSerializer,
    LabelsQuery,
)
from explorer.api.v1.serializers.votes import VoteRequestSerializer, VoteSerializer, VotesQuery
from features.models import Feature
from features.models import Label as Row
from features.models import Vote as VoteRow
from features.selectors import features as feature_selectors
from features.selectors import labels as label_selectors
from features.services import labels as label_services
from features.services import moderation as moderation_services


class Labels(MembersWriteView):
    """Labels."""

    @operation("list_labels", page_of(LabelSerializer), parameters=[LabelsQuery])
    def get(self, request: Request) -> Response:
        """List labels that are shown, newest first: of a model, SAE or feature, by a person or
        method.
        """
        query = parse_query(request, LabelsQuery)
        return paginated_response(
            request,
            label_selectors.list_labels(**list_filters(query)),
            ["-id"],
            query,
            LabelSerializer,
        )

    @operation(
        "propose_label",
        LabelDetailSerializer,
        403,
        404,
        413,
        415,
        success=201,
        request=LabelRequestSerializer,
    )
    def post(self, request: Request) -> Response:
        """Propose a label (members). Where the feature has one of these words, that gets your vote
        and is the answer.
        """
        data = parse_body(request, LabelRequestSerializer)
        feature = feature_of(data)
        label = label_services.propose(
            feature, data["text"], by=request.user, weight=access.weight(request.user)
        )
        return Response(
            _detail(label.pk), status=201, headers={"Location": f"{request.path}{label.pk}/"}
        )


class Label(MembersWriteView):
    """One label."""

    @operation("get_label", LabelDetailSerializer, 404)
    def get(self, request: Request, pk: int) -> Response:
        """Get a label with its scores and history."""
        parse_query(request)
        return Response(_detail(pk))

    @operation(
        "edit_label",
        LabelDetailSerializer,
        403,
        404,
        409,
        413,
        415,
        request=LabelEditRequestSerializer,
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Edit a label (its author and curators): other words, which begin without votes and
        scores; the old ones stay.
        """
        label, data = self._mine(request, pk), parse_body(request, LabelEditRequestSerializer)
        label_services.edit(
            label, data["text"], seen=data["version"], by=request.user, note=data["note"]
        )
        return Response(_detail(pk))

    @operation("withdraw_label", None, 403, 404, success=204, request=None)
    def delete(self, request: Request, pk: int) -> Response:
        """Withdraw a label (its author and curators): it is shown no more, and a curator can
        restore it.
        """
        label = self._mine(request, pk)
        moderation_services.hide(label, by=request.user)
        return Response(status=204)

    def _mine(self, request: Request, pk: int) -> Row:
        parse_query(request)
        label: Row = get_or_404(lambda pk: Row.objects.shown().get(pk=pk), pk, noun="label")
        if not access.may_edit_label(request.user, label):
            raise PermissionDenied("Only its author and curators may change a label.")
        return label


class Votes(MembersWriteView):
    """Votes."""

    @operation("list_votes", page_of(VoteSerializer), parameters=[VotesQuery])
    def get(self, request: Request) -> Response:
        """List votes on labels that are shown, newest first."""
        query = parse_query(request, VotesQuery)
        rows = VoteRow.objects.filter(label__state=Row.State.SHOWN).select_related("user")
        if "label" in query:
            rows = rows.filter(label=query["label"])
        if query.get("user"):
            rows = rows.filter(user__username=query["user"])
        return paginated_response(request, rows, ["-id"], query, VoteSerializer)

    @operation(
        "vote", VoteSerializer, 403, 404, 409, 413, 415, success=201, request=VoteRequestSerializer
    )
    def post(self, request: Request) -> Response:
        """Vote for or against a label (members, not on one's own); a second vote replaces the
        first.
        """
        data = parse_body(request, VoteRequestSerializer)
        label: Row = get_or_404(lambda pk: Row.objects.get(pk=pk), data["label"], noun="label")
        weight = access.weight(request.user)
        label_services.vote(
            label, data["value"], by=request.user, weight=weight, seen=data.get("version")
        )
        row = VoteRow.objects.select_related("user").get(label=label, user=request.user)  # type: ignore[misc]  # a member
        return Response(
            VoteSerializer(row).data, status=201, headers={"Location": f"{request.path}{row.pk}/"}
        )


class Vote(MembersWriteView):
    """One vote."""

    @operation("get_vote", VoteSerializer, 404)
    def get(self, request: Request, pk: int) -> Response:
        """Get a vote."""
        parse_query(request)
        return Response(VoteSerializer(_vote(pk)).data)

    @operation("take_vote_back", None, 403, 404, success=204, request=None)
    def delete(self, request: Request, pk: int) -> Response:
        """Take a vote of one's own back."""
        parse_query(request)
        vote = _vote(pk)
        if vote.user_id != request.user.pk:
            raise PermissionDenied("This is another person's vote.")
        label_services.vote(vote.label, 0, by=request.user, weight=access.weight(request.user))
        return Response(status=204)


def list_filters(query: dict[str, Any]) -> dict[str, Any]:
    """What of a query string narrows a list."""
    return {
        name: value
        for name, value in query.items()
        if name not in ("limit", "cursor") and value not in (None, "")
    }


def feature_of(data: dict[str, Any]) -> Feature:
    """The feature that a body names. Raises `NotFound`."""
    return get_or_404(
        feature_selectors.row, data["model"], data["sae"], data["index"], noun="feature"
    )


def _detail(pk: int) -> Any:
    return LabelDetailSerializer(get_or_404(label_selectors.visible_label, pk, noun="label")).data


def _vote(pk: int) -> VoteRow:
    rows = VoteRow.objects.filter(label__state=Row.State.SHOWN).select_related("user", "label")
    return get_or_404(lambda pk: rows.get(pk=pk), pk, noun="vote")
