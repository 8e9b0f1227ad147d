"""The written statements of a feature's page give what plain querysets give: one that no longer
fits the models fails here.
"""

from typing import Any

import pytest
from django.db.models import Model
from django.utils import timezone

from features.ingest import matches as match_ingest
from features.models import (
    Comment,
    Example,
    Feature,
    FeatureEffect,
    Label,
    LabelScore,
    LabelUpload,
    Match,
    Vote,
)
from features.records import FeatureMatches, SaeMatches
from features.selectors import feature_page_sql
from features.selectors import labels as label_selectors
from tests import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted() -> builders.Planted:
    return builders.planted()


def stored(row: Model | None) -> dict[str, Any] | None:
    """Every column of an instance, none of which is read from the database for this."""
    if row is None:
        return None
    columns = [field.attname for field in type(row)._meta.concrete_fields]
    assert not row.get_deferred_fields()
    assert not row._state.adding
    return {"model": type(row)} | {name: getattr(row, name) for name in columns}


def effect(feature: Feature) -> FeatureEffect:
    role = {"difference": 1.0, "low": 0.5, "high": 1.5}
    return FeatureEffect.objects.create(
        feature=feature, reads=role, writes=role, promoted=[257, 258], sae_sha256="9a"
    )


def match_with(planted: builders.Planted, slug: str, cosine: float) -> None:
    other = builders.sae(planted.model, slug)
    contexts = builders.sequences()
    record = builders.firing(0, " fox", contexts)
    builders.dashboards(other, planted.corpus, [record], contexts)
    there = FeatureMatches([7 - i for i in range(8)], [cosine] * 8)
    back = FeatureMatches([0], [cosine])
    match_ingest.write(planted.sae, other, SaeMatches(there, back), None)


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("index", [0, 3, 7])
def test_a_feature_comes_as_querysets_have_it(
    planted: builders.Planted, index: int, measured: bool, django_assert_num_queries: Any
) -> None:
    row = planted.feature(index)
    if measured:
        effect(row)
        for slug, cosine in (("3-res", 0.5), ("4-res", 0.7), ("1-res", 0.5)):
            match_with(planted, slug, cosine)
    with django_assert_num_queries(1):
        view = feature_page_sql.feature("tiny", "2-res", index)
        shown = view.feature
        related = [shown.sae, shown.sae.model, shown.sae.dashboard, shown.sae.dashboard.corpus]
    plain = Feature.objects.select_related("sae__model", "sae__dashboard__corpus").get(pk=row.pk)
    dashboard = plain.sae.dashboard
    assert stored(shown) == stored(plain)
    assert [stored(one) for one in related] == [
        stored(one) for one in (plain.sae, plain.sae.model, dashboard, dashboard.corpus)
    ]
    assert stored(view.effect) == stored(FeatureEffect.objects.filter(feature=row).first())
    alive = Feature.objects.filter(sae=planted.sae).alive().order_by("index")
    before, after = alive.filter(index__lt=index).last(), alive.filter(index__gt=index).first()
    assert (view.previous, view.next) == tuple(one and one.index for one in (before, after))
    matches = Match.objects.filter(sae=planted.sae, index=index).order_by("-cosine", "other__slug")
    assert [other for other, _, _ in view.elsewhere] == (
        ["4-res", "1-res", "3-res"] if measured else []
    )
    assert view.elsewhere == list(matches.values_list("other__slug", "other_index", "cosine"))


def test_a_feature_without_dashboards_has_none_and_an_unknown_one_is_no_feature(
    planted: builders.Planted,
) -> None:
    planted.dashboard.delete()
    assert not hasattr(feature_page_sql.feature("tiny", "2-res", 0).feature.sae, "dashboard")
    for unknown in (("other", "2-res", 0), ("tiny", "other", 0), ("tiny", "2-res", 8)):
        with pytest.raises(Feature.DoesNotExist):
            feature_page_sql.feature(*unknown)


def test_examples_come_in_order_with_their_contexts(
    planted: builders.Planted, django_assert_num_queries: Any
) -> None:
    row = planted.feature(0)
    with django_assert_num_queries(1):
        examples = feature_page_sql.examples(row.pk)
    plain = Example.objects.filter(feature=row).order_by("band", "rank")
    assert len(examples) > 2
    assert examples == list(
        plain.values_list(
            "sequence_id", "sequence__document", "sequence__position", "sequence__token_ids",
            "band", "rank", "peak", "positions", "values", "left_out",
        )
    )  # fmt: skip


@pytest.fixture
def labelled(planted: builders.Planted) -> Feature:
    """Feature 0 with labels of every state and maker, votes on present and earlier texts, scores,
    and comments; feature 1 with a label of its own.
    """
    ada, ben, _ = builders.cast()
    row = planted.feature(0)
    upload = LabelUpload.objects.create(sae=planted.sae, by=ada, name="labels.csv", rows=1)
    of = {"sae": planted.sae, "feature": row}
    days = Label.objects.create(
        text="days", method="person", author=ada, support=2, version=2, **of
    )
    rest = [
        Label.objects.create(text="times", method="concept", support=2, score=0.5, **of),
        Label.objects.create(text="hours", method="upload:x", support=2, score=0.9, **of),
        Label.objects.create(text="a day", method="person", author=ben, support=3, **of),
        Label.objects.create(text="rude", method="person", state=Label.State.HIDDEN, **of),
        Label.objects.create(
            text="Day", method="person", state=Label.State.MERGED, merged_into=days, **of
        ),
    ]
    Label.objects.filter(text="hours").update(upload=upload)
    Label.objects.create(sae=planted.sae, feature=planted.feature(1), text="self", method="concept")
    for label, user, value, version in (
        (days, ben, 1, 1), (days, ada, -1, 2), (rest[0], ben, -1, 1), (rest[3], ben, 1, 1)
    ):  # fmt: skip
        Vote.objects.create(label=label, user=user, value=value, version=version, weight=1)
    for kind, scorer, version in (
        ("fuzzing", "b", 2), ("detection", "b", 2), ("detection", "a", 2), ("detection", "a", 1)
    ):  # fmt: skip
        LabelScore.objects.create(
            label=days, kind=kind, scorer=scorer, version=version, value=0.5, n=9,
            details={"true": [1, 2]},
        )  # fmt: skip
    first = Comment.objects.create(feature=row, author=ada, text="Why?", label=days)
    Comment.objects.create(feature=row, parent=first, text="Because.", hidden=True)
    Comment.objects.create(feature=planted.feature(1), author=ben, text="Elsewhere")
    return row


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("visitor", ["ada", "ben", None])
def test_labels_come_as_querysets_have_them(
    labelled: Feature, visitor: str | None, hidden: bool, django_assert_num_queries: Any
) -> None:
    votes = Vote.objects.filter(user__username=visitor)
    user = next((vote.user_id for vote in votes), None)
    with django_assert_num_queries(1):
        labels = feature_page_sql.labels(labelled.pk, user, hidden=hidden)
        related = [(label.author, label.merged_into, label.upload) for label in labels]
    plain = Label.objects.filter(feature=labelled)
    ordered = label_selectors.with_votes(plain if hidden else plain.shown(), user)
    assert len(labels) == (6 if hidden else 4)
    assert [stored(label) for label in labels] == [stored(label) for label in ordered]
    assert [[stored(one) for one in row] for row in related] == [
        [stored(one) for one in (label.author, label.merged_into, label.upload)]
        for label in ordered
    ]
    assert [(label.mine, label.voted_before) for label in labels] == [  # type: ignore[attr-defined]
        (label.mine, label.voted_before) for label in ordered
    ]
    assert {label.mine for label in labels} == {  # type: ignore[attr-defined]
        "ada": {0, -1}, "ben": {0, -1, 1} if hidden else {0, -1}, None: {0}
    }[visitor]  # fmt: skip
    assert [label.text for label in labels if label.voted_before] == (  # type: ignore[attr-defined]
        ["days"] if visitor == "ben" else []
    )


def test_scores_are_those_of_present_texts(
    labelled: Feature, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        scores = feature_page_sql.scores(labelled.pk)
    plain = LabelScore.objects.filter(label__feature=labelled, version=2)
    assert [stored(score) for score in scores] == [stored(score) for score in plain]
    assert [(score.kind, score.scorer) for score in scores] == [
        ("detection", "a"), ("detection", "b"), ("fuzzing", "b")
    ]  # fmt: skip


def test_comments_come_with_author_and_label(
    labelled: Feature, django_assert_num_queries: Any
) -> None:
    Comment.objects.filter(parent=None).update(edited=timezone.now())
    with django_assert_num_queries(1):
        comments = feature_page_sql.comments(labelled.pk)
        related = [(comment.author, comment.label) for comment in comments]
    plain = Comment.objects.filter(feature=labelled).select_related("author", "label")
    assert [stored(comment) for comment in comments] == [stored(comment) for comment in plain]
    assert [[stored(one) for one in row] for row in related] == [
        [stored(comment.author), stored(comment.label)] for comment in plain
    ]
    assert len(comments) == 2


def test_with_nothing_prepared_the_rows_are_the_same(labelled: Feature, settings: Any) -> None:
    def everything() -> list[Any]:
        view = feature_page_sql.feature("tiny", "2-res", 0)
        rows = [view.feature, *feature_page_sql.labels(labelled.pk, None, hidden=True)]
        rows += [*feature_page_sql.scores(labelled.pk), *feature_page_sql.comments(labelled.pk)]
        return [*map(stored, rows), *feature_page_sql.examples(labelled.pk)]

    prepared = everything()
    settings.PREPARE = False
    assert everything() == prepared
