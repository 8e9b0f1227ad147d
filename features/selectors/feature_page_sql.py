"""The statements of a feature's page, written in SQL and prepared by `features.db.prepared`.

Django takes longer to build the SQL of these five queries than PostgreSQL to answer them, and half
of PostgreSQL's time is the plan: on two busy cores these reads take 4.6 ms, unprepared 8.6, as
querysets 31 (`make bench PARTS=page`). Columns come from the models;
tests/features/selectors/test_feature_page_sql.py compares every row with that of a plain queryset,
so that it fails where tables or relations change and a statement does not.
"""

from functools import cache
from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import Model

from features.db.model_columns import Columns, Query
from features.db.prepared import Statement, fetch
from features.models import (
    Comment,
    Corpus,
    Dashboard,
    Feature,
    FeatureEffect,
    Label,
    LabelScore,
    LabelUpload,
    LanguageModel,
    Sae,
)


class StoredFeature(NamedTuple):
    """A feature with its SAE, model and dashboard, the live features next to it by index, and its
    nearest features in other SAEs as (slug, index, cosine), nearest first.
    """

    feature: Feature
    effect: FeatureEffect | None
    previous: int | None
    next: int | None
    elsewhere: list[tuple[str, int, float]]


class StoredExample(NamedTuple):
    """An example with its context."""

    sequence_id: int
    document: str
    position: int
    token_ids: list[int]
    band: int
    rank: int
    peak: int
    positions: list[int]
    values: list[float]
    left_out: list[int]


def feature(model: str, sae: str, index: int) -> StoredFeature:
    """The feature of that SAE and index, in one query. Raises `Feature.DoesNotExist`."""
    for row, owner, of, dashboard, corpus, effect, *rest in _feature().fetch(
        model=model, sae=sae, index=index
    ):
        row.sae, owner.model = owner, of
        if dashboard is not None:
            dashboard.corpus, owner.dashboard = corpus, dashboard
        previous, following, elsewhere = rest
        return StoredFeature(row, effect, previous, following, [tuple(e) for e in elsewhere or ()])
    raise Feature.DoesNotExist


def examples(feature: int) -> list[StoredExample]:
    """The examples of a feature in order of band and rank, in one query."""
    return [StoredExample(*row) for row in fetch(EXAMPLES, feature=feature)]


def labels(feature: int, visitor: int | None, *, hidden: bool) -> list[Label]:
    """The labels of a feature, best first, in one query: those that are shown, with `hidden` all.

    Each has `mine`, the visitor's vote for its present text (0 for none), and `voted_before`,
    whether they voted on an earlier text.
    """
    found = []
    for label, author, merged, upload, mine, before in _labels().fetch(
        feature=feature, visitor=visitor, hidden=hidden
    ):
        label.author, label.merged_into, label.upload = author, merged, upload
        label.mine, label.voted_before = mine, before
        found.append(label)
    return found


def scores(feature: int) -> list[LabelScore]:
    """The scores of the present texts of a feature's labels, in one query."""
    return [score for (score,) in _scores().fetch(feature=feature)]


def comments(feature: int) -> list[Comment]:
    """The comments on a feature with author and label, oldest first, in one query."""
    found = []
    for comment, author, label in _comments().fetch(feature=feature):
        comment.author, comment.label = author, label
        found.append(comment)
    return found


def _query(name: str, sql: str, parameters: str, **parts: type[Model]) -> Query:
    """The statement with the columns of each model in the place of `{alias}`, and the name of the
    table of users in that of `{users}`.
    """
    columns = {alias: Columns(model, alias) for alias, model in parts.items()}
    lists = {alias: part.sql for alias, part in columns.items()}
    text = sql.format(users=get_user_model()._meta.db_table, **lists)
    return Query(Statement(name, text, tuple(parameters.split())), tuple(columns.values()))


@cache
def _feature() -> Query:
    return _query(
        "feature",
        """
        SELECT {feature}, {sae}, {model}, {dashboard}, {corpus}, {effect},
            (SELECT "index" FROM features_feature
                WHERE sae_id = feature.sae_id AND fires > 0 AND "index" < feature."index"
                ORDER BY "index" DESC LIMIT 1),
            (SELECT "index" FROM features_feature
                WHERE sae_id = feature.sae_id AND fires > 0 AND "index" > feature."index"
                ORDER BY "index" LIMIT 1),
            (SELECT json_agg(json_build_array(other.slug, other_index, cosine)
                    ORDER BY cosine DESC, other.slug)
                FROM features_match JOIN features_sae other ON other.id = other_id
                WHERE features_match.sae_id = feature.sae_id
                    AND features_match."index" = feature."index")
        FROM features_feature feature
        JOIN features_sae sae ON sae.id = feature.sae_id
        JOIN features_languagemodel model ON model.id = sae.model_id
        LEFT JOIN features_dashboard dashboard ON dashboard.sae_id = sae.id
        LEFT JOIN features_corpus corpus ON corpus.id = dashboard.corpus_id
        LEFT JOIN features_featureeffect effect ON effect.feature_id = feature.id
        WHERE model.slug = %(model)s AND sae.slug = %(sae)s AND feature."index" = %(index)s
        """,
        "model sae index",
        feature=Feature,
        sae=Sae,
        model=LanguageModel,
        dashboard=Dashboard,
        corpus=Corpus,
        effect=FeatureEffect,
    )


EXAMPLES = Statement(
    "examples",
    """
    SELECT example.sequence_id, sequence.document, sequence.position, sequence.token_ids,
        example.band, example.rank, example.peak, example.positions, example."values",
        example.left_out
    FROM features_example example JOIN features_sequence sequence
        ON sequence.id = example.sequence_id
    WHERE example.feature_id = %(feature)s
    ORDER BY example.band, example.rank
    """,
    ("feature",),
)


@cache
def _labels() -> Query:
    return _query(
        "labels",
        """
        SELECT {label}, {author}, {merged}, {upload},
            coalesce((SELECT value FROM features_vote WHERE label_id = label.id
                AND user_id = %(visitor)s AND version = label.version), 0),
            EXISTS (SELECT FROM features_vote WHERE label_id = label.id
                AND user_id = %(visitor)s AND version < label.version)
        FROM features_label label
        LEFT JOIN {users} author ON author.id = label.author_id
        LEFT JOIN features_label merged ON merged.id = label.merged_into_id
        LEFT JOIN features_labelupload upload ON upload.id = label.upload_id
        WHERE label.feature_id = %(feature)s AND (%(hidden)s OR label.state = 'shown')
        ORDER BY label.support DESC, label.score_kind = 'promotes',
            label.score DESC NULLS LAST, label.id
        """,
        "feature visitor hidden",
        label=Label,
        author=get_user_model(),
        merged=Label,
        upload=LabelUpload,
    )


@cache
def _scores() -> Query:
    return _query(
        "scores",
        """
        SELECT {score} FROM features_labelscore score
        JOIN features_label label ON label.id = score.label_id AND label.version = score.version
        WHERE label.feature_id = %(feature)s
        ORDER BY score.kind, score.scorer, score.negatives
        """,
        "feature",
        score=LabelScore,
    )


@cache
def _comments() -> Query:
    return _query(
        "comments",
        """
        SELECT {comment}, {author}, {label} FROM features_comment comment
        LEFT JOIN {users} author ON author.id = comment.author_id
        LEFT JOIN features_label label ON label.id = comment.label_id
        WHERE comment.feature_id = %(feature)s
        ORDER BY comment.id
        """,
        "feature",
        comment=Comment,
        author=get_user_model(),
        label=Label,
    )
