"""Activity on labels: the feed, disputes, and contributions of a person."""

from datetime import datetime
from typing import Any, NamedTuple, Self

from django.db import connection
from django.db.models import Count, Q, QuerySet, Sum
from django.utils.dateparse import parse_datetime

from features.models import Comment, Feature, Label, LabelRevision, Sae, Vote

PAGE = 40
KINDS = ("label", "edit", "vote", "comment")

FEED = """
SELECT at, kind, id FROM (
    SELECT * FROM (
        SELECT l.created AS at, 'label' AS kind, l.id FROM features_label l
        WHERE l.state = 'shown' AND l.method = 'person' AND {label}
            ORDER BY l.created DESC, l.id DESC LIMIT %(limit)s) a
    UNION ALL SELECT * FROM (
        SELECT r.at, 'edit', r.id FROM features_labelrevision r
            JOIN features_label l ON l.id = r.label_id
        WHERE r.version > 1 AND l.state = 'shown' AND {edit}
            ORDER BY r.at DESC, r.id DESC LIMIT %(limit)s) b
    UNION ALL SELECT * FROM (
        SELECT v.at, 'vote', v.id FROM features_vote v JOIN features_label l ON l.id = v.label_id
        WHERE l.state = 'shown' AND {vote} ORDER BY v.at DESC, v.id DESC LIMIT %(limit)s) c
    UNION ALL SELECT * FROM (
        SELECT c.created, 'comment', c.id FROM features_comment c
            JOIN features_feature f ON f.id = c.feature_id
        WHERE NOT c.hidden AND NOT c.deleted AND {comment}
            ORDER BY c.created DESC, c.id DESC LIMIT %(limit)s) d
) what ORDER BY at DESC, kind, id DESC LIMIT %(limit)s
"""


class FeedPosition(NamedTuple):
    """A position in the feed that also orders events of the same instant."""

    at: datetime
    kind: str
    pk: int

    def __str__(self) -> str:
        return f"{self.at.isoformat()}~{self.kind}~{self.pk}"

    @classmethod
    def read(cls, text: str) -> Self:
        """The place that was written so. Raises `ValueError`."""
        at, kind, pk = text.split("~")
        found = parse_datetime(at)
        if found is None or found.tzinfo is None or kind not in KINDS or not 0 < int(pk) < 2**63:
            raise ValueError(text)
        return cls(found, kind, int(pk))


class Happening(NamedTuple):
    """An event of the feed: `kind` is label, edit, vote or comment, `what` its row."""

    kind: str
    at: Any
    who: Any
    what: Any
    feature: Feature
    text: str

    @property
    def position(self) -> FeedPosition:
        """Where it stands; what comes after begins there."""
        return FeedPosition(self.at, self.kind, self.what.pk)


class Contribution(NamedTuple):
    """Counts of what a person has contributed."""

    labels: int
    chosen: int
    votes: int
    comments: int


def feed(
    *,
    saes: list[int] | None = None,
    person: int | None = None,
    after: FeedPosition | None = None,
    limit: int = PAGE,
) -> list[Happening]:
    """The latest labels, edits, votes and comments of people, newest first. Six queries.

    `after` is the last event that was shown; `saes` are ids. Labels of methods are in reports, not
    in the feed.
    """
    wheres: dict[str, list[str]] = {kind: [] for kind in KINDS}
    columns = {
        "label": ("l.sae_id", "l.author_id", "l.created", "l.id"),
        "edit": ("l.sae_id", "r.by_id", "r.at", "r.id"),
        "vote": ("l.sae_id", "v.user_id", "v.at", "v.id"),
        "comment": ("f.sae_id", "c.author_id", "c.created", "c.id"),
    }
    for kind, (sae, who, at, pk) in columns.items():
        if saes is not None:
            wheres[kind].append(f"{sae} = ANY(%(saes)s)")
        if person is not None:
            wheres[kind].append(f"{who} = %(person)s")
        if after is not None:
            same = (
                f"{pk} < %(pk)s" if kind == after.kind else "true" if kind > after.kind else "false"
            )
            wheres[kind].append(f"{at} <= %(at)s AND ({at} < %(at)s OR {same})")
    sql = FEED.format(**{kind: " AND ".join(found) or "true" for kind, found in wheres.items()})
    with connection.cursor() as cursor:
        cursor.execute(
            sql,
            {"saes": saes, "person": person, "limit": limit, **(after._asdict() if after else {})},
        )
        found = cursor.fetchall()
    return _filled(found)


def _filled(found: list[tuple[Any, str, int]]) -> list[Happening]:
    ids: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for _at, kind, pk in found:
        ids[kind].append(pk)
    of_label = ("label__feature__sae__model",)
    rows: dict[str, dict[int, Any]] = {
        "label": Label.objects.select_related("author", "feature__sae__model").in_bulk(
            ids["label"]
        ),
        "edit": LabelRevision.objects.select_related("by", *of_label).in_bulk(ids["edit"]),
        "vote": Vote.objects.select_related("user", *of_label).in_bulk(ids["vote"]),
        "comment": Comment.objects.select_related("author", "label", "feature__sae__model").in_bulk(
            ids["comment"]
        ),
    }
    return [_happening(kind, at, rows[kind][pk]) for at, kind, pk in found if pk in rows[kind]]


def _happening(kind: str, at: Any, row: Any) -> Happening:
    who = {"label": "author", "edit": "by", "vote": "user", "comment": "author"}[kind]
    feature = row.feature if kind in ("label", "comment") else row.label.feature
    text = row.label.text if kind == "vote" else row.text
    return Happening(kind, at, getattr(row, who), row, feature, text)


def contribution(person: int) -> Contribution:
    """Counts for a person: visible labels, how many of them are their feature's label, votes,
    comments.
    """
    mine = Label.objects.shown().filter(author=person, method=Label.PERSON)
    return Contribution(
        mine.count(),
        Feature.objects.filter(label__author=person).count(),
        Vote.objects.filter(user=person).count(),
        Comment.objects.filter(author=person, deleted=False, hidden=False).count(),
    )


def disputed(saes: list[int] | None = None) -> QuerySet[Feature]:
    """Disputed features, densest first."""
    rows = Feature.objects.filter(disputed=True).select_related("sae__model", "label__author")
    return rows if saes is None else rows.filter(sae__in=saes)


def rivals(features: list[Feature]) -> dict[int, list[Label]]:
    """By feature, its visible labels that people vote on, most support first. One query."""
    found: dict[int, list[Label]] = {feature.pk: [] for feature in features}
    weighed = Q(weight__gt=0) | Q(up__gt=0) | Q(down__gt=0)
    rows = Label.objects.shown().filter(weighed, feature__in=features).select_related("author")
    for label in rows.order_by("-support", "id"):
        found[label.feature_id].append(label)
    return found


def contributors(limit: int = 10) -> list[Any]:
    """People with the most visible labels, and the weight of votes of others for them."""
    rows = (
        Label.objects.shown()
        .filter(method=Label.PERSON, author__isnull=False)
        .values("author__username")
    )
    return list(
        rows.annotate(labels=Count("id"), up=Sum("up")).order_by("-labels", "author__username")[
            :limit
        ]
    )


def scope(model: str, sae: str) -> list[int] | None:
    """Ids of the SAEs that a filter names; None for all, an empty list for an unknown one."""
    if not model and not sae:
        return None
    wanted = Q(model__slug=model) if model else Q()
    if sae:
        of, _, slug = sae.rpartition("/")
        wanted &= Q(slug=slug) & (Q(model__slug=of) if of else Q())
    return list(Sae.objects.filter(wanted).values_list("pk", flat=True))
