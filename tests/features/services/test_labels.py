"""Labels: what people say, what methods find, and which of them is the feature's."""

import threading
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from features import text_cleaning
from features.models import Label, LabelScore, Vote
from features.records import InvalidInput, LabelRecord, ScoreRecord
from features.services import labels as label_services
from features.services.consensus import CURATOR, MEMBER, recompute
from tests import builders

pytestmark = pytest.mark.django_db


def found(index: int, text: str, accuracy: float = 0.9) -> LabelRecord:
    score = ScoreRecord(
        "concept",
        0.8,
        0.7,
        0.85,
        200,
        balanced_accuracy=accuracy,
        auroc=accuracy,
        details={"precision": 0.75},
    )
    return LabelRecord(index, text, {"concept": text}, [score])


def test_a_persons_label_is_the_features_label_at_once() -> None:
    planted, (_, ben, _) = builders.planted(), builders.cast()
    label = label_services.propose(planted.feature(0), "  the word\n“day” ", by=ben, weight=MEMBER)
    assert label.text == "the word “day”"
    assert planted.feature(0).label == label
    assert not planted.feature(0).disputed
    assert [r.text for r in label.revisions.all()] == ["the word “day”"]


def test_saying_what_is_said_already_is_a_vote() -> None:
    planted, (ada, ben, _) = builders.planted(), builders.cast()
    first = label_services.propose(planted.feature(0), "days", by=ben, weight=MEMBER)
    again = label_services.propose(planted.feature(0), "Days", by=ada, weight=CURATOR)
    assert again == first
    first.refresh_from_db()
    assert (first.up, first.support) == (3, 4.0)


def test_labels_repeat_what_searches_filter_by_and_follow_their_feature() -> None:
    planted, (_, ben, _) = builders.planted(), builders.cast()
    feature = planted.feature(0)
    assert feature.density > 0
    label_services.propose(feature, "days", by=ben, weight=MEMBER)
    label_services.write_found(planted.sae, "concept", [found(0, "the word day")], None)
    for row in Label.objects.all():
        assert (row.density, row.causal_effect) == (feature.density, 0)
    feature.causal_effect, feature.density = 0.5, 0.25
    feature.save(update_fields=["causal_effect", "density"])
    assert set(Label.objects.values_list("density", "causal_effect")) == {(0.25, 0.5)}


@pytest.mark.parametrize("text", ["", " \n\t", "\x00\u200b\u202e", "a" * 501])
def test_a_label_needs_words_and_not_too_many(text: str) -> None:
    planted, (ada, *_) = builders.planted(), builders.cast()
    with pytest.raises(InvalidInput) as refused:
        label_services.propose(planted.feature(0), text, by=ada, weight=CURATOR)
    assert refused.value.field == "text"
    assert not Label.objects.exists()


def test_what_cannot_be_seen_is_left_out_and_letters_are_composed() -> None:
    assert text_cleaning.clean("cafe\u0301\u200b\x00 \u202ebar") == "café bar"
    assert text_cleaning.clean("<b>x</b> & y") == "<b>x</b> & y"


def test_letters_that_python_lowers_otherwise_are_the_same_words_too() -> None:
    planted, (ada, ben, _) = builders.planted(), builders.cast()
    for text in ("ΛΟΓΟΣ", "İstanbul", "STRASSE ẞ"):
        first = label_services.propose(planted.feature(0), text, by=ben, weight=MEMBER)
        assert label_services.propose(planted.feature(0), text, by=ada, weight=CURATOR) == first


def test_an_edit_names_the_words_it_saw_and_keeps_the_old_ones() -> None:
    planted, (ada, ben, _) = builders.planted(), builders.cast()
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=MEMBER)
    label_services.vote(label, 1, by=ada, weight=CURATOR)
    edited = label_services.edit(label, "the word day", seen=1, by=ada, note="clearer")
    assert (edited.version, edited.up, edited.support) == (2, 0, 1.0), (
        "the vote was for other words"
    )
    with pytest.raises(label_services.Changed) as late:
        label_services.edit(label, "my own words", seen=1, by=ben)
    assert late.value.label.text == "the word day"
    assert [(r.version, r.text) for r in label.revisions.all()] == [(1, "day"), (2, "the word day")]


def test_an_edit_into_words_of_another_label_is_refused() -> None:
    planted, (ada, ben, _) = builders.planted(), builders.cast()
    label_services.propose(planted.feature(0), "day", by=ben, weight=MEMBER)
    other = label_services.propose(planted.feature(0), "week", by=ada, weight=CURATOR)
    with pytest.raises(InvalidInput):
        label_services.edit(other, "DAY", seen=1, by=ada)


def test_one_vote_a_person_none_on_ones_own_and_none_on_a_hidden_label() -> None:
    planted, (ada, ben, _) = builders.planted(), builders.cast()
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=MEMBER)
    with pytest.raises(InvalidInput):
        label_services.vote(label, 1, by=ben, weight=MEMBER)
    label_services.vote(label, 1, by=ada, weight=CURATOR)
    label_services.vote(label, 1, by=ada, weight=CURATOR)
    assert Vote.objects.count() == 1
    label_services.vote(label, -1, by=ada, weight=CURATOR)
    label.refresh_from_db()
    assert (label.up, label.down, label.support) == (0, 3, -2.0)
    assert planted.feature(0).label is None, "nobody's support is left"
    label_services.vote(label, 0, by=ada, weight=CURATOR)
    assert planted.feature(0).label == label
    Label.objects.update(state=Label.State.HIDDEN)
    with pytest.raises(InvalidInput):
        label_services.vote(label, 1, by=ada, weight=CURATOR)


def test_a_vote_that_crossed_an_edit_stays_with_the_words_that_were_seen() -> None:
    planted, (ada, ben, _) = builders.planted(), builders.cast()
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=MEMBER)
    label_services.edit(label, "night", seen=1, by=ben)
    label_services.vote(label, 1, by=ada, weight=CURATOR, seen=1)
    label.refresh_from_db()
    assert (Vote.objects.get().version, label.up) == (1, 0)
    label_services.vote(label, -1, by=ada, weight=CURATOR, seen=2)
    with pytest.raises(label_services.Changed):
        label_services.vote(label, 1, by=ada, weight=CURATOR, seen=1)
    label.refresh_from_db()
    assert (Vote.objects.get().value, label.down) == (-1, 3)


def test_a_machines_label_counts_by_its_evidence_and_a_persons_wins_over_it() -> None:
    planted, (_, ben, _) = builders.planted(), builders.cast()
    assert (
        label_services.write_found(
            planted.sae, "concept", [found(0, "“day”"), found(1, "always", 0.5)], None
        )
        == 2
    )
    machine = planted.feature(0).label
    assert machine is not None
    assert (machine.text, machine.score, machine.score_kind) == ("“day”", 0.9, "concept")
    assert machine.support == pytest.approx(0.8)
    assert planted.feature(1).label is None, "no better than chance"
    mine = label_services.propose(planted.feature(0), "days of a story", by=ben, weight=MEMBER)
    assert planted.feature(0).label == mine
    assert not planted.feature(0).disputed


def test_people_who_stand_for_two_labels_dispute_the_feature() -> None:
    planted, (ada, ben, _) = builders.planted(), builders.cast()
    label_services.propose(planted.feature(0), "day", by=ben, weight=MEMBER)
    label_services.propose(planted.feature(0), "beginnings", by=ada, weight=MEMBER)
    assert planted.feature(0).disputed
    first = planted.feature(0).label
    assert first is not None
    assert first.text == "day", "of equals the older"


def test_a_method_replaces_its_own_labels_but_not_what_people_touched() -> None:
    planted, (ada, ben, _) = builders.planted(), builders.cast()
    label_services.write_found(
        planted.sae, "concept", [found(0, "old"), found(1, "voted"), found(2, "edited")], None
    )
    by_index = {label.feature.index: label for label in Label.objects.select_related("feature")}
    label_services.vote(by_index[1], 1, by=ben, weight=MEMBER)
    label_services.edit(by_index[2], "edited by hand", seen=1, by=ada)
    label_services.write_found(
        planted.sae,
        "concept",
        [found(0, "new"), found(1, "voted", 0.7), found(99, "nowhere")],
        None,
    )
    assert sorted(Label.objects.values_list("feature__index", "text")) == [
        (0, "new"),
        (1, "voted"),
        (2, "edited by hand"),
    ]
    score = LabelScore.objects.get(label=by_index[1])
    assert score.balanced_accuracy == 0.7
    assert by_index[2].revisions.count() == 2


def test_of_several_scores_the_first_kind_is_the_evidence_and_a_correlation_is_none() -> None:
    planted = builders.planted()
    kinds = [("concept", 0.9), ("detection", 0.6), ("simulation", None)]
    scores = [
        ScoreRecord(kind, 0.9, None, None, 50, balanced_accuracy=accuracy)
        for kind, accuracy in kinds
    ]
    label_services.write_found(planted.sae, "concept", [LabelRecord(0, "day", {}, scores)], None)
    label = planted.feature(0).label
    assert label is not None
    assert (label.score_kind, label.score) == ("detection", 0.6)


def score(kind: str, f1: float | None, half: float) -> ScoreRecord:
    value = half if f1 is None else f1
    return ScoreRecord(kind, value, None, None, 50, balanced_accuracy=half, f1=f1)


@pytest.mark.parametrize(
    ("record", "shown", "support"),
    [
        (score("concept", 0.8, 0.95), 0.8, 0.6),
        (score("concept", 0.4, 0.9), 0.4, None),  # rare, so that balanced accuracy is high
        (score("detection", 0.67, 0.5), 0.67, None),  # always yes, of which half is right
        (score("detection", 0.8, 0.75), 0.8, 0.5),
        (score("embedding", None, 0.7), 0.7, 0.4),
        (score("promotes", None, 0.9), 0.9, None),
    ],
)
def test_a_claim_heads_its_feature_if_its_score_and_its_balanced_accuracy_pass_a_half(
    record: ScoreRecord, shown: float, support: float | None
) -> None:
    planted = builders.planted()
    label_services.write_found(planted.sae, "m", [LabelRecord(0, "day", {}, [record])], None)
    label = Label.objects.get()
    assert label.score == pytest.approx(shown)
    assert label.support == pytest.approx(support or 0)
    assert planted.feature(0).label == (label if support else None)


def test_a_tie_of_votes_keeps_the_words_of_a_person() -> None:
    planted, (_, ben, _) = builders.planted(), builders.cast()
    cay, dan = (get_user_model().objects.create_user(name) for name in ("cay", "dan"))
    feature = planted.feature(0)
    human = label_services.propose(feature, "days of the week", by=ben, weight=MEMBER)
    label_services.write_found(planted.sae, "concept", [found(0, "`day`")], None)
    label_services.vote(human, -1, by=cay, weight=MEMBER)
    assert planted.feature(0).label == human
    label_services.vote(human, -1, by=dan, weight=MEMBER)
    assert planted.feature(0).label == Label.objects.get(method="concept")


def test_dashboards_that_are_made_anew_keep_the_labels() -> None:
    planted, (_, ben, _) = builders.planted(), builders.cast()
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=MEMBER)
    contexts = builders.sequences()
    records = [builders.firing(i, " fox", contexts) for i in range(8)]
    builders.dashboards(planted.sae, planted.corpus, records, contexts)
    assert planted.feature(0).label == label


def test_settling_twice_changes_nothing() -> None:
    planted, (_, ben, _) = builders.planted(), builders.cast()
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=MEMBER)
    before = planted.feature(0).__dict__ | {"_state": None}
    recompute([planted.feature(0).pk])
    assert planted.feature(0).__dict__ | {"_state": None} == before
    assert Label.objects.get() == label


@pytest.mark.django_db(transaction=True)
def test_three_at_once_label_vote_and_edit_and_nothing_is_lost() -> None:
    planted, (ada, ben, _) = builders.planted(), builders.cast()
    feature, label = (
        planted.feature(0),
        label_services.propose(planted.feature(0), "day", by=ben, weight=MEMBER),
    )
    start, failed = threading.Barrier(3), []

    def at_once(act: Any) -> None:
        try:
            start.wait(10)
            for round_ in range(8):
                act(round_)
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    def edits(number: int) -> None:
        while True:
            try:
                label_services.edit(
                    label, f"day {number}", seen=Label.objects.get(pk=label.pk).version, by=ben
                )
                return
            except label_services.Changed:
                continue

    acts = [
        lambda n: label_services.propose(feature, f"other {n}", by=ada, weight=CURATOR),
        lambda n: label_services.vote(label, (-1) ** n, by=ada, weight=CURATOR),
        edits,
    ]
    threads = [threading.Thread(target=at_once, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert Label.objects.count() == 9
    assert Vote.objects.count() == 1
    assert [r.version for r in label.revisions.all()] == list(range(1, 10))
    label.refresh_from_db()
    vote = Vote.objects.get()
    assert label.down == (3 if vote.version == label.version else 0)
