"""Alpha as the package `krippendorff` has it, and the report of an SAE's labels against counting by
hand.
"""

import random
import statistics
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from explorer.models import User
from features.models import Job, Label, LabelScore, Vote
from features.records import LabelRecord, ScoreRecord
from features.selectors import agreement, label_report
from features.services import labels as label_services
from features.services import moderation as moderation_services
from features.services.consensus import recompute
from tests import builders

pytestmark = pytest.mark.django_db
krippendorff = pytest.importorskip("krippendorff")


@pytest.fixture
def planted():
    return builders.planted()


def scored(index, text, accuracy, kind="concept"):
    return LabelRecord(
        index, text, {}, [ScoreRecord(kind, accuracy, None, None, 100, balanced_accuracy=accuracy)]
    )


@pytest.mark.parametrize("seed", range(4))
def test_alpha_of_people_is_that_of_the_package(planted, seed):
    draw = random.Random(seed)
    people = [User.objects.create_user(f"p{i}") for i in range(5)]
    table = []
    for i in range(12):
        author = draw.choice(people)
        label = label_services.propose(planted.feature(i % 8), f"label {i}", by=author, weight=1)
        ratings = [1.0 if person == author else np.nan for person in people]
        for place, person in enumerate(people):
            if person != author and draw.random() < 0.5:
                ratings[place] = draw.choice([1.0, -1.0])
                label_services.vote(label, int(ratings[place]), by=person, weight=1)
        table.append(ratings)
    found = agreement.people_agreement(planted.sae.pk)
    matrix = np.array(table).T
    counts = (~np.isnan(matrix)).sum(axis=0)
    assert found.alpha == pytest.approx(krippendorff.alpha(matrix, level_of_measurement="nominal"))
    assert (found.units, found.ratings) == ((counts > 1).sum(), counts[counts > 1].sum())


@pytest.mark.parametrize("seed", range(4))
def test_alpha_of_methods_is_that_of_the_package(planted, seed):
    draw, methods, words = (
        random.Random(seed),
        ["concept", "logits", "explained"],
        ["day", "Fox", "self"],
    )
    table = np.full((3, 8), np.nan)
    for row, method in enumerate(methods):
        chosen = [(i, draw.choice(words)) for i in range(8) if draw.random() < 0.7]
        label_services.write_found(
            planted.sae, method, [scored(i, text, 0.8) for i, text in chosen], None
        )
        for i, text in chosen:
            table[row, i] = words.index(text)
    expected = krippendorff.alpha(table, level_of_measurement="nominal")
    assert agreement.method_agreement(planted.sae.pk).alpha == pytest.approx(expected)


def test_what_cannot_be_told_is_none(planted):
    ada, ben, _ = builders.cast()
    assert agreement.people_agreement(planted.sae.pk) == agreement.Agreement(None, 0, 0)
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    assert agreement.people_agreement(planted.sae.pk) == agreement.Agreement(None, 0, 0), (
        "one rating is no agreement"
    )
    label_services.vote(label, 1, by=ada, weight=3)
    assert agreement.people_agreement(planted.sae.pk) == agreement.Agreement(None, 1, 2), (
        "all alike"
    )


def test_votes_of_the_suspended_of_old_words_and_on_hidden_labels_are_left_out(planted):
    ada, ben, _ = builders.cast()
    cleo = User.objects.create_user("cleo")
    first = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    second = label_services.propose(planted.feature(1), "self", by=ben, weight=1)
    for label in (first, second):
        label_services.vote(label, -1, by=ada, weight=3)
        label_services.vote(label, 1, by=cleo, weight=1)
    assert agreement.people_agreement(planted.sae.pk).ratings == 6
    moderation_services.reweigh(cleo, 0)
    assert agreement.people_agreement(planted.sae.pk).ratings == 4
    label_services.edit(first, "the word day", seen=1, by=ben)
    assert agreement.people_agreement(planted.sae.pk).ratings == 2
    moderation_services.hide(second, by=ada)
    assert agreement.people_agreement(planted.sae.pk).ratings == 0


def test_methods_head_to_head(planted):
    ours, theirs = [0.9, 0.8, 0.7, 0.6], [0.7, 0.8, 0.75, 0.5]
    label_services.write_found(
        planted.sae, "concept", [scored(i, f"a{i}", s) for i, s in enumerate(ours)], None
    )
    label_services.write_found(
        planted.sae, "logits", [scored(i, f"b{i}", s) for i, s in enumerate(theirs)], None
    )
    label_services.write_found(
        planted.sae, "explained", [scored(i, f"c{i}", 0.99, "detection") for i in range(4)], None
    )
    (duel,) = agreement.compare_methods(planted.sae.pk)
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    half = 1.96 * statistics.stdev(differences) / 2
    assert duel[:6] == ("concept", "logits", "concept", 4, 2, 1), (
        "a test of another kind is no comparison"
    )
    assert duel.difference == pytest.approx(statistics.mean(differences))
    assert (duel.low, duel.high) == pytest.approx((duel.difference - half, duel.difference + half))


def test_the_report_counts_what_there_is(planted):
    ada, ben, _ = builders.cast()
    accuracies = [0.9, 0.62, 1.0, 0.5]
    label_services.write_found(
        planted.sae, "concept", [scored(i, f"c{i}", s) for i, s in enumerate(accuracies)], None
    )
    label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    label_services.propose(planted.feature(0), "night", by=ada, weight=1)
    report = label_report.report(planted.sae)
    assert report.coverage == label_report.Coverage(alive=7, labelled=3, by_people=1, disputed=1)
    assert report.coverage.share == pytest.approx(3 / 7)
    concept, person = report.methods
    assert (concept.method, concept.labels, concept.kind, concept.scored) == (
        "concept",
        4,
        "concept",
        4,
    )
    assert concept.median == pytest.approx(statistics.median(accuracies))
    assert (
        concept.histogram[10],
        concept.histogram[12],
        concept.histogram[18],
        concept.histogram[19],
    ) == (1, 1, 1, 1)
    assert sum(concept.histogram) == 4
    assert (person.method, person.labels, person.chosen, person.histogram) == ("person", 2, 1, [])


def test_the_report_says_what_the_labels_of_each_method_and_their_scores_cost(client, planted):
    start = timezone.now()

    def job(seconds, **result):
        long = timedelta(seconds=seconds)
        return Job.objects.create(
            kind="any",
            params={},
            state="finished",
            started=start,
            ended=start + long,
            result=result,
        )

    free, half, rest, scoring = (
        job(90),
        job(10, **asked(700, 300, 0.02)),
        job(20, **asked(70, 30, 0.01)),
        job(5),
    )
    label_services.write_found(
        planted.sae, "concept", [scored(i, f"c{i}", 0.9) for i in range(3)], free
    )
    label_services.write_found(
        planted.sae, "explained", [LabelRecord(i, f"e{i}", {}, []) for i in (0, 1)], half
    )
    found = Label.objects.filter(method="explained").order_by("pk")
    label_services.write_scores({label: scored(0, "", 0.7).scores for label in found}, scoring)
    label_services.write_found(
        planted.sae, "explained", [LabelRecord(2, "e2", {}, [])], rest, only=[2]
    )
    label_services.propose(planted.feature(0), "day", by=builders.cast()[0], weight=1)
    rows = [
        ("concept", False, 3, 1, None, None, 90.0),
        ("explained", False, 3, 2, 1_100, pytest.approx(0.03), 30.0),
        ("explained", True, 2, 1, None, None, 5.0),
    ]
    assert label_report.report(planted.sae).costs == rows
    page = client.get("/tiny/2-res/labels/").content.decode()
    assert "1,100" in page
    assert "$0.03" in page
    assert "1 min 30 s" in page


def asked(prompt, completion, cost):
    return {"prompt_tokens": prompt, "completion_tokens": completion, "cost": cost}


def test_the_report_page_costs_the_same_for_ten_labels_and_for_twenty(
    client, planted, django_assert_max_num_queries
):
    ada, ben, _ = builders.cast()
    costs = []
    for start in (0, 10):
        for i in range(start, start + 10):
            label = label_services.propose(planted.feature(i % 8), f"label {i}", by=ben, weight=1)
            label_services.propose(planted.feature(i % 8), f"other {i}", by=ada, weight=1)
            label_services.vote(label, -1, by=ada, weight=3)
        label_services.write_found(
            planted.sae, f"m{start}", [scored(i, f"w{i}", 0.8) for i in range(8)], None
        )
        with django_assert_max_num_queries(12) as queries:
            response = client.get("/tiny/2-res/labels/")
        assert response.status_code == 200
        costs.append(len(queries))
    assert costs[0] == costs[1]
    assert client.get("/tiny/no-such/labels/").status_code == 404


def test_an_sae_without_labels_has_a_report_too(client, planted):
    page = client.get("/tiny/2-res/labels/").content.decode()
    assert "No feature of this SAE has a label yet" in page
    assert (Label.objects.count(), LabelScore.objects.count(), Vote.objects.count()) == (0, 0, 0)
    recompute([])
