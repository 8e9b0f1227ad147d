"""Prompts show what they say they show, answers are read strictly, and scores are those of a plain
reference.
"""

import random

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from workers.pipeline.autointerp import answer_scores, explainers, label_answers, scorers
from workers.pipeline.autointerp.examples import (
    ExampleText,
    FeatureExamples,
    activation_level,
    is_held_out,
    mark_active_tokens,
    mark_tokens,
    text_around,
)


def text(*words: str, fires: str = "cat") -> ExampleText:
    return ExampleText(
        [f" {word}" for word in words], [2.0 if word == fires else 0.0 for word in words]
    )


def material(firing: int = 13) -> FeatureExamples:
    """A feature that fires on “cat” with 2.0, its maximum."""
    yes = [text("the", "cat", f"ran{n}") for n in range(firing)]
    no = [text("the", "dog", f"sat{n}") for n in range(firing)]
    return FeatureExamples(
        7, 2.0, yes[:3], no[:3], yes[3:], no[3:], no[3:], [" meow", "\n"], [" bark"]
    )


def test_marks_are_around_runs_of_strong_tokens() -> None:
    assert (
        mark_active_tokens(ExampleText(["a", "b", "c", "d"], [0.0, 2.0, 1.0, 0.5]), 2.0)
        == "a<<bc>>d"
    )
    assert mark_tokens(["a", "b"], [False, True]) == "a<<b>>"
    assert mark_tokens(["x"], [False]) == "x"


def test_steps_are_tenths_of_the_maximum_and_what_fires_is_at_least_one() -> None:
    assert [activation_level(value, 2.0) for value in (0.0, -1.0, 0.01, 0.5, 1.99, 2.0, 3.0)] == [
        0,
        0,
        1,
        2,
        9,
        10,
        10,
    ]
    assert activation_level(1.0, 0.0) == 0


def test_a_piece_is_at_most_32_tokens_around_its_centre() -> None:
    tokens = [str(n) for n in range(100)]
    piece = text_around(tokens, [0.0] * 100, 50)
    assert (piece.tokens[0], piece.tokens[-1], len(piece.tokens)) == ("30", "61", 32)
    assert text_around(tokens, [0.0] * 100, 2).tokens[0] == "0"


def test_about_half_of_the_contexts_are_held_out_and_always_the_same_ones() -> None:
    sides = [is_held_out(0, n) for n in range(2000)]
    assert 0.45 < sum(sides) / 2000 < 0.55
    assert (
        sides
        == [is_held_out(0, n) for n in range(2000)]
        != [is_held_out(1, n) for n in range(2000)]
    )


@pytest.mark.parametrize("name", explainers.EXPLAINERS)
def test_every_explainer_shows_its_evidence_and_asks_for_a_label(name: str) -> None:
    system, user = explainers.messages(name, material())
    assert "LABEL:" in system["content"]
    shown = user["content"]
    assert "' cat'\t10" in shown if name == "pairs" else " the<< cat>> ran0" in shown
    assert ("' meow'" in shown) == (name == "logits")
    assert (" the dog sat0" in shown) == (name == "contrastive")
    assert "ran9" not in shown, "held-out texts are not shown"


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("LABEL: cats", "cats"),
        ("It is a cat each time.\n\nLABEL: the word “cat”.\n", "the word “cat”"),
        ("**Label:** `cat` after an article", "`cat` after an article"),
        ("LABEL: draft\nLABEL: cats", "cats"),
        ("cats", "cats"),
        ("Two lines\nof prose", None),
        ("LABEL: unclear", None),
        ("LABEL: Method 2", None),
        ("LABEL: " + "x" * 301, None),
        ("LABEL:   ", None),
    ],
)
def test_a_label_is_read_or_refused(answer: str, label: str | None) -> None:
    assert label_answers.parse_label(answer) == label


def test_detection_mixes_as_many_silent_texts_as_firing_ones() -> None:
    quizzes = scorers.detection(material(), "cats", "random", 0)
    assert [len(quiz.labels) for quiz in quizzes] == [5, 5, 5, 5]
    assert sum(sum(quiz.labels) for quiz in quizzes) == 10
    assert all("cats" in quiz.messages[0]["content"] for quiz in quizzes)
    assert len({tuple(quiz.labels) for quiz in quizzes}) > 1, "shuffled"
    assert quizzes == scorers.detection(material(), "cats", "random", 0)


def test_fuzzing_marks_as_many_tokens_wrongly_where_it_is_silent() -> None:
    quizzes = scorers.fuzzing(material(), "cats", 0)
    pieces = "\n".join(quiz.messages[1]["content"] for quiz in quizzes)
    assert pieces.count("<< cat>>") == 5
    assert pieces.count("<<") == 10
    assert sum(sum(quiz.labels) for quiz in quizzes) == 5


def test_an_intruder_is_the_one_in_which_it_is_silent() -> None:
    quizzes = scorers.intruder(material(11), 0)
    assert len(quizzes) == 2
    for quiz in quizzes:
        texts = quiz.messages[1]["content"].split("\n\n")
        assert "dog" in texts[int(quiz.labels[0]) - 1]
        assert sum("dog" in one for one in texts) == 1


@pytest.mark.parametrize(
    ("kind", "truth", "answer", "said"),
    [
        ("detection", [1.0, 0.0], "[1, 0]", [1.0, 0.0]),
        ("detection", [1.0, 0.0], "Text 1 [sic] fires: [0, 1]", [0.0, 1.0]),
        ("detection", [1.0, 0.0], "yes, no", [None, None]),
        ("detection", [1.0, 0.0], "[1]", [None, None]),
        ("detection", [1.0, 0.0], "[1, 2]", [None, None]),
        ("detection", [1.0, 0.0], "[0.5, 1]", [None, None]),
        ("detection", [1.0, 0.0], '["a", {}]', [None, None]),
        ("simulation", [0.0, 2.0], "[0, 7]", [0.0, 7.0]),
        ("simulation", [0.0, 2.0], "[0, 11]", [None, None]),
        ("intruder", [3.0], "[4]", [4.0]),
    ],
)
def test_answers_are_read_strictly(
    kind: str, truth: list[float], answer: str, said: list[float | None]
) -> None:
    assert scorers.parse_answer(scorers.ScorerPrompt(0, kind, [], truth), answer) == said


def test_balanced_accuracy_and_auroc_are_those_of_a_plain_library() -> None:
    draw = np.random.default_rng(0)
    truth, called = draw.integers(0, 2, 60).astype(float), draw.integers(0, 2, 60).astype(float)
    score = answer_scores.score_answers("detection", truth.tolist(), called.tolist(), 0)
    assert score is not None
    assert score.value == pytest.approx(balanced_accuracy_score(truth, called))
    assert score.low is not None
    assert score.high is not None
    assert score.low < score.value < score.high
    similar = draw.integers(0, 5, 60) + truth
    found = answer_scores.score_embedding(similar[truth == 1], similar[truth == 0], 0)
    assert found is not None
    assert found.auroc == pytest.approx(roc_auc_score(truth, similar))


def test_a_label_that_is_always_true_scores_one_half() -> None:
    for negatives in ("random", "hard"):
        quizzes = scorers.detection(material(), "always", negatives, 0)
        truth = [one for quiz in quizzes for one in quiz.labels]
        score = answer_scores.score_answers("detection", truth, [1.0] * len(truth), 0)
        assert score is not None
        assert score.balanced_accuracy == 0.5
        assert score.details["recall"] == 1.0


def test_unparsed_answers_are_counted_and_never_right_or_wrong() -> None:
    score = answer_scores.score_answers("detection", [1, 1, 0, 0], [1.0, None, 0.0, None], 0)
    assert score is not None
    assert (score.value, score.n, score.details["unparsed"]) == (1.0, 2, 2)
    assert answer_scores.score_answers("detection", [1, 0], [None, 0.0], 0) is None, (
        "no firing text was answered"
    )
    assert answer_scores.score_answers("detection", [], [], 0) is None


def test_a_simulation_is_pearsons_correlation_over_all_tokens() -> None:
    draw = random.Random(0)
    truth = [[draw.random() for _ in range(8)] for _ in range(5)]
    said: list[list[float | None]] = [[10 * value for value in one] for one in truth]
    score = answer_scores.score_simulation(truth, said, 0)
    assert score is not None
    assert score.value == pytest.approx(1.0)
    noisy: list[list[float | None]] = [[draw.random() * 10 for _ in one] for one in truth]
    plain = np.corrcoef(
        np.concatenate(truth), np.concatenate([np.array(one, float) for one in noisy])
    )[0, 1]
    score = answer_scores.score_simulation(truth, noisy, 0)
    assert score is not None
    assert score.value == pytest.approx(plain)
    assert answer_scores.score_simulation(truth, [[None] * 8] * 5, 0) is None
    flat = answer_scores.score_simulation(truth, [[5.0] * 8] * 5, 0)
    assert flat is not None
    assert flat.value == 0.0


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draw, covered = np.random.default_rng(1), 0
    for seed in range(100):
        truth = np.repeat([1.0, 0.0], 40)
        called = np.where(draw.random(80) < 0.8, truth, 1 - truth)
        low, high = answer_scores.bootstrap_interval(
            answer_scores.balanced_accuracy, truth, called, seed
        )
        covered += low <= 0.8 <= high
    assert covered >= 85
