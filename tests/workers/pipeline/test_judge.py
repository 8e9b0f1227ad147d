"""Judging a text: what is asked, what is read from an answer, and the score of both."""

from itertools import product
from statistics import harmonic_mean

import pytest

from features.models.judgement import harmonic
from workers.pipeline.autointerp import judge
from workers.pipeline.autointerp.number_answers import parse_rating


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("RATING: 2", 2),
        ("It names the word twice.\nRATING: 1", 1),
        ("**Rating:** [[0]]", 0),
        ("**RATING:**\n1", 1),
        ("## Rating : 2.", 2),
        ("rating: 1.0", 1),
        ("RATING: 0\nOn second thoughts:\nRATING: 2\n", 2),
        ("2", 2),
        (" [[1]]. ", 1),
        ("RATING: 3", None),
        ("RATING: -1", None),
        ("RATING: 1.5", None),
        ("RATING: 10", None),
        ("RATING: 1/2", 1),
        ("RATING: 0, 1 or 2", None),
        ("RATING:", None),
        ("RATING: high", None),
        ("RATING: 1\nRATING: none", None),
        ("I would give it a 2", None),
        ("I cannot judge this.", None),
        ("", None),
    ],
)
def test_a_score_is_read_or_there_is_none(answer: str, score: int | None) -> None:
    assert parse_rating(answer) == score


def test_both_is_the_harmonic_mean_and_missing_where_one_is() -> None:
    for concept, fluency in product(range(3), repeat=2):
        assert harmonic(concept, fluency) == pytest.approx(harmonic_mean([concept, fluency]))
    assert harmonic(None, 2) is None
    assert harmonic(0, None) is None


def test_the_two_scores_are_asked_apart_and_only_one_is_told_the_label() -> None:
    concept, fluency = (
        judge.messages(score, "x = {1}", "braces {label} {0}") for score in ("concept", "fluency")
    )
    assert "braces {label} {0}" in concept[0]["content"]
    assert "braces" not in fluency[0]["content"]
    for prompt in (concept, fluency):
        assert [message["role"] for message in prompt] == ["system", "user"]
        assert prompt[1]["content"].endswith("\n\nx = {1}")
        assert prompt[0]["content"].endswith("RATING: 0, 1 or 2")
