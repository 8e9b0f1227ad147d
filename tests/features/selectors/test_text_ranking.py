"""The ranking of features on a text, against the plainest possible reference: dense matrices of
activations.
"""

import random

import pytest

from features.selectors.text_ranking import by_feature, rank, rank_difference

SAES = ("a", "b")
WIDTH = 12


def drawn(seed, tokens):
    """What fires at each position of a random text, and the same as rows of activations
    by feature.
    """
    dice = random.Random(seed)
    dense = {
        (sae, i): [dice.choice([0.0, 0.0, round(dice.uniform(0.1, 5), 3)]) for _ in range(tokens)]
        for sae in SAES
        for i in range(WIDTH)
    }
    fired = {
        sae: [
            [(i, dense[sae, i][place]) for i in range(WIDTH) if dense[sae, i][place]]
            for place in range(tokens)
        ]
        for sae in SAES
    }
    return fired, dense


def mean(values):
    return sum(values) / len(values) if values else 0.0


def best_first(values):
    return sorted(
        ((key, value) for key, value in values.items() if value),
        key=lambda row: (-abs(row[1]), row[0]),
    )


def same(found, expected):
    assert [row.key for row in found] == [key for key, _ in expected]
    assert [row.value for row in found] == pytest.approx([value for _, value in expected])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("chosen", [[0], [2, 5, 6], list(range(9)), []])
@pytest.mark.parametrize("by", ["sum", "max", "difference"])
def test_features_are_ranked_on_the_chosen_tokens(seed, chosen, by):
    fired, dense = drawn(seed, 9)
    counted = range(9)
    rest = [place for place in counted if place not in chosen]
    reference = {
        "sum": lambda row: sum(row[p] for p in chosen),
        "max": lambda row: max([row[p] for p in chosen], default=0.0),
        "difference": lambda row: mean([row[p] for p in chosen]) - mean([row[p] for p in rest]),
    }[by]
    expected = [
        (key, value)
        for key, value in best_first({k: reference(row) for k, row in dense.items()})
        if value > 0
    ]
    same(rank(by_feature(fired), chosen, counted, by), expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("by", ["mean", "max"])
def test_two_texts_are_told_apart(seed, by):
    (one, first), (two, second) = drawn(seed, 7), drawn(seed + 100, 4)
    size = {"mean": mean, "max": max}[by]
    expected = best_first({key: size(first[key]) - size(second[key]) for key in first})
    same(rank_difference(by_feature(one), 7, by_feature(two), 4, by), expected)
    turned = rank_difference(by_feature(two), 4, by_feature(one), 7, by)
    assert [(row.key, -row.value) for row in turned] == [
        (key, pytest.approx(value)) for key, value in expected
    ]


def test_positions_that_do_not_count_change_nothing():
    firings = {("a", 1): {0: 4.0, 1: 2.0, 2: 1.0}}
    assert rank(firings, [1], [1, 2], "difference")[0].value == 1.0
    assert rank(firings, [1], [1, 2], "sum")[0].value == 2.0


def test_what_is_in_one_text_alone_is_found_and_what_is_alike_is_not():
    assert rank_difference({("a", 1): {0: 2.0}}, 2, {}, 0, "mean") == [(("a", 1), 1.0)]
    assert rank_difference({("a", 1): {0: 2.0}}, 1, {("a", 1): {3: 2.0}}, 1, "max") == []


def test_ties_go_by_sae_and_index():
    firings = {("b", 1): {0: 1.0}, ("a", 9): {0: 1.0}, ("a", 2): {0: 1.0}}
    assert [row.key for row in rank(firings, [0], [0], "sum")] == [("a", 2), ("a", 9), ("b", 1)]
