"""Who is a curator and who is suspended. Their labels and votes are counted anew, and the trail
keeps who did it.
"""

from django.db import transaction
from django.db.models.functions import Now

from explorer.access import weight
from explorer.models import User
from features.services import moderation as moderation_services


@transaction.atomic
def suspend(member: User, *, by: User, reason: str = "") -> None:
    """From now on this person writes nothing, and what they said weighs nothing. Twice changes
    nothing.
    """
    if User.objects.filter(pk=member.pk, suspended=None).update(suspended=Now()):
        _recount(member, "suspend", by, reason)


@transaction.atomic
def unsuspend(member: User, *, by: User, reason: str = "") -> None:
    """Take a suspension back: all weighs as before."""
    if User.objects.filter(pk=member.pk, suspended__isnull=False).update(suspended=None):
        _recount(member, "unsuspend", by, reason)


@transaction.atomic
def make_curator(member: User, curator: bool, *, by: User, reason: str = "") -> None:
    """Make a member a curator, or a curator a member."""
    if User.objects.filter(pk=member.pk, curator=not curator).update(curator=curator):
        _recount(member, "role", by, reason or ("made a curator" if curator else "made a member"))


@transaction.atomic
def recount_after_save(member: User, before: int, *, by: User) -> None:
    """After the admin pages saved a person who weighed `before`: count anew where the role has
    changed.
    """
    if weight(member) != before:
        _recount(member, "role", by, "on the admin pages")


def _recount(member: User, action: str, by: User, reason: str) -> None:
    member.refresh_from_db()
    features = moderation_services.reweigh(member, weight(member))
    moderation_services.note(
        action,
        member,
        by=by,
        reason=reason,
        details={"weight": weight(member), "features": features},
    )
