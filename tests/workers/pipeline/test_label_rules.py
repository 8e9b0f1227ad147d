"""Rules and scores against slow, dense ones; and labels whose answer is planted."""

import itertools

import numpy as np
import pytest
import torch

from features.records import LabelRecord
from workers.pipeline.concepts.concept import Concept as Row
from workers.pipeline.dashboards.logit_lens import Readout
from workers.pipeline.labelling import concept_labels, promoted_token_labels
from workers.pipeline.labelling.clause_names import MAX_NAME_LENGTH, ClauseNames
from workers.pipeline.labelling.document_split import DocumentSplit
from workers.pipeline.labelling.evidence import NONE, Evidence
from workers.pipeline.labelling.prediction_scores import ScoredTokens, rank_levels
from workers.pipeline.labelling.rule_search import RuleSearch, SearchLimits
from workers.pipeline.labelling.rule_text import describe, rule_as_data, token_text
from workers.pipeline.labelling.rules import Clause, RuleConcept, TokenIndex

NAMES = ["in-call", "in-string", "digit", "rare"]
WORDS = ["in the brackets of a call", "in a string", "a digit", "a rare thing"]
VOCABULARY = [f"t{i}".encode() for i in range(20)]
LENGTH = 25


def evidence(
    fired: dict[int, np.ndarray] | None = None,
    contexts: int = 120,
    seed: int = 0,
    features: int = 4,
) -> Evidence:
    """Random tokens with random concepts; `fired` marks where each feature fires strongly."""
    chance = np.random.default_rng(seed)
    n = contexts * LENGTH
    ids = chance.integers(0, 20, n).astype(np.int32)
    context = np.repeat(np.arange(contexts), LENGTH).astype(np.int32)
    place = np.arange(n) % LENGTH
    rows = np.arange(n, dtype=np.int32)
    flags = chance.random((n, len(NAMES))) < [0.3, 0.2, 0.1, 0.01]
    fired = fired or {}
    begin, found, values = [0], [], []
    for feature in range(features):
        where = np.flatnonzero(fired.get(feature, np.zeros(n, bool))).astype(np.int32)
        found.append(where)
        values.append(chance.random(len(where)).astype(np.float32) + 1)
        begin.append(begin[-1] + len(where))
    return Evidence(
        ids=ids,
        previous=np.where(place > 0, np.roll(ids, 1), NONE).astype(np.int32),
        following=np.where(place < LENGTH - 1, np.roll(ids, -1), NONE).astype(np.int32),
        before=np.where(place > 0, rows - 1, NONE).astype(np.int32),
        context=context,
        document=np.arange(contexts, dtype=np.int32),
        held=context % 2 == 1,
        flags=np.packbits(flags, axis=1),
        begin=np.array(begin),
        rows=np.concatenate(found),
        values=np.concatenate(values),
        names=NAMES,
        words=WORDS,
    )


def dense(found: Evidence) -> np.ndarray:
    """Concepts of this token, then of the one before, one column each."""
    here = np.unpackbits(found.flags, axis=1, count=len(NAMES)).astype(bool)
    there = np.array(
        [here[row] if row != NONE else np.zeros(len(NAMES), bool) for row in found.before]
    )
    return np.concatenate([here, there], axis=1)


def holds(clause: Clause, found: Evidence) -> np.ndarray:
    """Token by token, as a clause is defined."""
    columns = dense(found)
    return np.array(
        [
            (not clause.tokens or token in clause.tokens)
            and (not clause.previous or before in clause.previous)
            and (not clause.earlier or (at >= 0 and found.previous[at] in clause.earlier))
            and all(row[one.column + len(NAMES) * one.before] for one in clause.concepts)
            for token, before, at, row in zip(
                found.ids.tolist(),
                found.previous.tolist(),
                found.before.tolist(),
                columns,
                strict=True,
            )
        ]
    )


def f1(predicted: np.ndarray, true: np.ndarray) -> float:
    return 2 * (predicted & true).sum() / max(predicted.sum() + true.sum(), 1)


CLAUSES = [
    Clause(),
    Clause(tokens=(3,)),
    Clause(tokens=(3, 5), previous=(1, 2)),
    Clause(concepts=(RuleConcept(0, False),)),
    Clause(previous=(7,), concepts=(RuleConcept(2, True), RuleConcept(1, False))),
    Clause(tokens=(99,)),
    Clause(earlier=(4, 99)),
    Clause(tokens=(3, 8), previous=(5, 6, 7), earlier=(1, 2, 3, 4)),
]


@pytest.mark.parametrize("clause", CLAUSES)
def test_a_clause_is_found_where_it_holds(clause):
    found = evidence()
    where = TokenIndex(found).matching_rows(clause)
    assert where.tolist() == np.flatnonzero(holds(clause, found)).tolist()


def test_a_token_is_as_sure_as_the_most_precise_clause_that_holds():
    found = evidence()
    rule = (CLAUSES[1]._replace(precision=0.2), CLAUSES[3]._replace(precision=0.9))
    expected = np.where(holds(rule[1], found), 2, np.where(holds(rule[0], found), 1, 0))
    rows, levels = TokenIndex(found).rule_levels(rule)
    assert rows.tolist() == np.flatnonzero(expected).tolist()
    assert levels.tolist() == expected[expected > 0].tolist()


@pytest.mark.parametrize(
    ("planted", "limits"),
    [
        (Clause(tokens=(3, 5, 11)), {}),
        (Clause(concepts=(RuleConcept(0, False),)), {}),
        (Clause(tokens=(4, 9), concepts=(RuleConcept(0, False),)), {}),
        (Clause(previous=(6, 7), concepts=(RuleConcept(1, False),)), {}),
        (Clause(tokens=(1, 2), previous=(3, 4, 5)), {}),
        (Clause(previous=(3, 4, 5), earlier=(8, 9)), {}),
        (Clause(tokens=(2,), earlier=(1, 8, 9)), {}),
        (Clause(concepts=(RuleConcept(0, False), RuleConcept(1, True))), {}),
    ],
)
def test_a_planted_clause_is_found_exactly(planted, limits):
    blank = evidence(contexts=400)
    where = holds(planted, blank)
    found = evidence({0: where}, contexts=400)
    rule, train = RuleSearch(TokenIndex(found), SearchLimits(**limits)).best_rule(0)
    assert train == pytest.approx(1.0)
    held = np.zeros(len(where), bool)
    for clause in rule:
        held |= holds(clause, found)
    assert f1(held[found.held], where[found.held]) == 1.0
    assert [set(c.tokens) for c in rule] == [set(planted.tokens)]
    assert [set(c.previous) for c in rule] == [set(planted.previous)]
    assert [set(c.earlier) for c in rule] == [set(planted.earlier)]
    assert [set(c.concepts) for c in rule] == [set(planted.concepts)]


def test_a_planted_union_is_found():
    blank = evidence(contexts=400)
    parts = (Clause(tokens=(3, 5)), Clause(previous=(8,), concepts=(RuleConcept(0, False),)))
    where = holds(parts[0], blank) | holds(parts[1], blank)
    found = evidence({0: where}, contexts=400)
    rule, train = RuleSearch(TokenIndex(found)).best_rule(0)
    assert train > 0.97
    assert {(frozenset(c.tokens), frozenset(c.previous)) for c in rule} >= {
        (frozenset({3, 5}), frozenset()),
        (frozenset(), frozenset({8})),
    }
    assert [clause.precision for clause in rule] == pytest.approx([1, 1], abs=0.05)


def test_the_first_set_is_the_best_there_is():
    """Against every set of the tokens: F1 is highest for a beginning of the order by precision."""
    chance = np.random.default_rng(1)
    blank = evidence(contexts=60)
    small = blank._replace(
        ids=(blank.ids % 8).astype(np.int32), previous=np.full_like(blank.previous, NONE)
    )
    where = (
        chance.random(len(small.ids))
        < np.array([0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.0])[small.ids]
    )
    rows = np.flatnonzero(where).astype(np.int32)
    found = small._replace(
        rows=rows, values=np.ones(len(rows), np.float32), begin=np.array([0, len(rows)])
    )
    train = ~found.held
    best = max(
        f1(np.isin(found.ids[train], tokens), where[train])
        for size in range(1, 9)
        for tokens in itertools.combinations(range(8), size)
    )
    search = RuleSearch(
        TokenIndex(found),
        SearchLimits(clauses=1, smooth=0.0, fewest=1, part_gain=10, documents=1, doubt=0.0),
    )
    rule, value = search.best_rule(0)
    assert value == pytest.approx(best)
    assert f1(holds(rule[0], found)[train], where[train]) == pytest.approx(best)


def test_the_f1_of_a_rule_is_that_of_its_clauses_on_the_training_half():
    chance = np.random.default_rng(2)
    where = chance.random(120 * LENGTH) < 0.1
    blank = evidence()
    where |= holds(Clause(tokens=(2,)), blank) & (chance.random(len(where)) < 0.7)
    found = evidence({1: where})
    rule, value = RuleSearch(
        TokenIndex(found), SearchLimits(clause_gain=0.0, part_gain=0.0)
    ).best_rule(1)
    held = np.zeros(len(where), bool)
    for clause in rule:
        held |= holds(clause, found)
    assert value == pytest.approx(f1(held[~found.held], where[~found.held]))


def test_rows_that_are_not_scored_do_not_count():
    chance = np.random.default_rng(6)
    level, true, context = (
        chance.integers(0, 3, 200),
        chance.random(200) < 0.3,
        np.repeat(np.arange(20), 10),
    )
    some = np.flatnonzero(context % 3 == 0)
    found = ScoredTokens(some, context, 0).measure(
        np.flatnonzero(level), level[level > 0], np.flatnonzero(true)
    )
    alone = ScoredTokens(np.arange(len(some)), context[some], 0)
    said = level[some]
    assert found == alone.measure(np.flatnonzero(said), said[said > 0], np.flatnonzero(true[some]))


def test_a_token_that_one_document_alone_has_is_in_no_set():
    blank = evidence(contexts=400)
    ids = np.where(blank.ids == 5, 6, blank.ids).astype(np.int32)
    ids[np.flatnonzero(blank.context == 4)[:9]] = 5
    found = evidence({0: np.isin(ids, (3, 5))}, contexts=400)._replace(ids=ids)
    rule, _ = RuleSearch(TokenIndex(found)).best_rule(0)
    assert [set(c.tokens) for c in rule] == [{3}]
    rule, _ = RuleSearch(
        TokenIndex(found), SearchLimits(documents=1, doubt=0.0, clause_gain=0, part_gain=0)
    ).best_rule(0)
    assert any(5 in c.tokens for c in rule)


def test_a_feature_that_fires_too_seldom_has_no_rule():
    where = np.zeros(120 * LENGTH, bool)
    where[:1] = True
    assert RuleSearch(TokenIndex(evidence({0: where}))).best_rule(0) == ((), 0.0)
    assert RuleSearch(TokenIndex(evidence({0: where}))).best_rule(1) == ((), 0.0)


def test_scores_are_those_of_a_plain_reference():
    chance = np.random.default_rng(3)
    level = chance.integers(0, 4, 120)
    true = chance.random(120) < 0.1 + level / 6
    context = np.repeat(np.arange(30), 4)
    scored = ScoredTokens(np.arange(120), context, 0)
    found = scored.measure(np.flatnonzero(level), level[level > 0], np.flatnonzero(true))
    plain = _plain(level, true)
    for name, value in plain.items():
        assert getattr(found, name) == pytest.approx(value), name
    assert (found.predicted, found.true) == ((level > 0).sum(), true.sum())
    again = [np.repeat(np.arange(30), weights.astype(int)) for weights in scored.weights]
    drawn = []
    for chosen in again:
        rows = np.concatenate([np.flatnonzero(context == one) for one in chosen])
        drawn.append(_plain(level[rows], true[rows]))
    for name, ends in found.intervals.items():
        assert ends == pytest.approx(
            tuple(np.percentile([one[name] for one in drawn], (2.5, 97.5))), abs=1e-5
        )
        assert ends[0] <= plain[name] <= ends[1]


def _plain(level: np.ndarray, true: np.ndarray) -> dict[str, float]:
    said = level > 0
    right = (said & true).sum()
    recall, specific = right / true.sum(), (~said & ~true).sum() / (~true).sum()
    wins = [(a > b) + (a == b) / 2 for a in level[true] for b in level[~true]]
    return {
        "f1": f1(said, true),
        "precision": right / max(said.sum(), 1),
        "recall": recall,
        "balanced_accuracy": (recall + specific) / 2,
        "auroc": float(np.mean(wins)),
    }


@pytest.mark.parametrize("said", [True, False])
def test_a_label_that_says_always_or_never_scores_a_half(said):
    chance = np.random.default_rng(4)
    true = chance.random(600) < 0.2
    context = np.repeat(np.arange(30), 20)
    rows = np.flatnonzero(np.full(600, said))
    found = ScoredTokens(np.arange(600), context, 0).measure(
        rows, np.ones_like(rows), np.flatnonzero(true)
    )
    assert (found.balanced_accuracy, found.auroc) == (0.5, 0.5)
    assert found.intervals["balanced_accuracy"] == found.intervals["auroc"] == (0.5, 0.5)


def test_an_always_true_label_among_others_scores_a_half_on_held_out_contexts():
    blank = evidence()
    where = holds(Clause(tokens=(3,)), blank)
    index = TokenIndex(evidence({0: where}))
    always = concept_labels.RuleScorer(index, 0).measure((Clause(),), 0)
    assert (always.balanced_accuracy, always.auroc) == (0.5, 0.5)
    assert always.recall == 1
    record = concept_labels.concept_score(always, 60)
    assert (record.balanced_accuracy, record.auroc, record.n) == (0.5, 0.5, 60)
    assert record.value == pytest.approx(
        2 * where[index.evidence.held].mean() / (1 + where[index.evidence.held].mean())
    )


def test_noise_learned_by_heart_does_not_hold_on_other_documents():
    chance = np.random.default_rng(5)
    found = evidence({0: chance.random(120 * LENGTH) < 0.02})
    rule, train = RuleSearch(
        TokenIndex(found), SearchLimits(fewest=1, smooth=0.0, documents=1, doubt=0.0)
    ).best_rule(0)
    held = concept_labels.RuleScorer(TokenIndex(found), 0).measure(rule, 0)
    assert held.auroc == pytest.approx(0.5, abs=0.05)
    assert held.f1 < train / 2


def test_labels_say_the_rule_and_carry_its_score():
    blank = evidence(contexts=400)
    where = holds(Clause(tokens=(4, 9), concepts=(RuleConcept(0, False),)), blank)
    found = evidence({2: where}, contexts=400)
    records = [
        r
        for r in concept_labels.label_concepts(found, [0, 2], VOCABULARY, about={"corpus": "c"})
        if hasattr(r, "provenance")
    ]
    (record,) = records
    assert (record.index, record.text) == (2, "`t4` or `t9` in the brackets of a call")
    assert record.provenance["rule"][0]["concepts"] == ["in-call"]
    assert record.provenance["corpus"] == "c"
    (score,) = record.scores
    assert (score.kind, score.value, score.low, score.high, score.n) == ("concept", 1, 1, 1, 200)
    assert (score.balanced_accuracy, score.auroc) == (1, 1)


def test_a_rule_below_the_minimum_makes_no_label():
    chance = np.random.default_rng(5)
    found = evidence({0: chance.random(120 * LENGTH) < 0.02})
    assert not [
        r
        for r in concept_labels.label_concepts(found, [0], VOCABULARY, minimum=0.9)
        if hasattr(r, "provenance")
    ]


TEXTS = ["a", " a", "b", " b", "c", "d", "e", "word" * 20]


@pytest.mark.parametrize(
    ("clause", "name"),
    [
        (Clause(tokens=(0,)), "`a`"),
        (Clause(tokens=(1,)), "`␣a`"),
        (Clause(tokens=(0, 1)), "`a` with or without a blank before"),
        (Clause(tokens=(0, 1), previous=(4,)), "`a` after `c`"),
        (Clause(tokens=(0, 1, 3)), "`a` or `␣b`"),
        (Clause(tokens=(4, 5, 6)), "`c`, `d` or `e`"),
        (Clause(tokens=(0, 2, 4, 5)), "`a`, `b`, `c`, …"),
        (Clause(tokens=(0, 2, 4, 5), concepts=(RuleConcept(0, False),)),
         "`a`, `b`, `c`, … in the brackets of a call"),
        (Clause(tokens=(0, 2, 4, 5), concepts=(RuleConcept(2, False),)),
         "digits such as `a`, `b`, `c`"),
        (Clause(previous=(0,), earlier=(2,)), "any token after `a` after `b`"),
        (Clause(earlier=(2,)), "any token two tokens after `b`"),
        (Clause(concepts=(RuleConcept(1, True),)), "any token after a token in a string"),
    ],
)  # fmt: skip
def test_the_name_of_a_clause(clause, name):
    found = evidence()._replace(names=["in-call", "in-string", "character.digit", "rare"])
    texts = [f"`{text.replace(' ', '␣')}`" for text in TEXTS]
    names = ClauseNames(found, texts.__getitem__)
    keys = TokenIndex(found).keys
    assert names.name(clause, keys, np.arange(0)) == name


def test_a_set_goes_by_the_rarest_concept_that_nearly_all_of_its_tokens_have():
    found = evidence()
    here = found.concepts_of(np.arange(len(found.ids)))
    here[:, 3] = found.ids < 4  # rarer than digits, which they all are too
    here[:, 2] |= found.ids < 6
    found = found._replace(
        names=["in-call", "in-string", "character.digit", "python.exception"],
        flags=np.packbits(here.astype(bool), axis=1),
    )
    index = TokenIndex(found)
    names = ClauseNames(found, lambda token: f"`t{token}`")
    for tokens, noun in (((0, 1, 2, 3), "exceptions"), ((1, 2, 3, 4, 5), "digits")):
        clause = Clause(tokens=tokens)
        name = names.name(clause, index.keys, index.matching_rows(clause))
        assert name.startswith(f"{noun} such as `t")
        assert len(name) <= MAX_NAME_LENGTH


def test_a_label_is_the_part_of_the_rule_that_is_worth_its_words():
    """Planted: `t4` in a call, nearly always after `t1` to `t3`; once elsewhere."""
    blank = evidence(contexts=400)
    in_call = holds(Clause(tokens=(4,), concepts=(RuleConcept(0, False),)), blank)
    where = in_call & (np.arange(len(in_call)) % 20 > 0)  # a few do not fire
    where |= holds(Clause(tokens=(9,), previous=(8,)), blank)
    found = evidence({2: where}, contexts=400)
    (record,) = [
        r
        for r in concept_labels.label_concepts(found, [2], VOCABULARY)
        if isinstance(r, LabelRecord)
    ]
    assert record.text == "`t4` in the brackets of a call"
    exact, (score,) = record.provenance["exact"], record.scores
    assert len(exact["rule"]) > 1
    predicted = in_call & found.held
    assert score.value == pytest.approx(f1(predicted, where & found.held))
    assert score.f1 == score.value
    assert record.provenance["train_f1"] == pytest.approx(
        f1(in_call & ~found.held, where & ~found.held), abs=1e-4
    )
    assert exact["low"] <= exact["f1"] <= exact["high"]
    assert score.value < exact["f1"] < 1


def test_no_label_is_longer_than_it_may_be():
    vocabulary = [("long" * 5 + str(i)).encode() for i in range(20)]
    blank = evidence(contexts=400)
    where = holds(Clause(tokens=(4, 9, 11), previous=(5, 6, 7, 8), earlier=(1, 2, 3)), blank)
    found = evidence({2: where}, contexts=400)
    texts = [
        r.text
        for r in concept_labels.label_concepts(found, [2], vocabulary, minimum=0)
        if isinstance(r, LabelRecord)
    ]
    assert texts
    assert all(len(text) <= MAX_NAME_LENGTH for text in texts)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ((Clause(tokens=(1,)),), "`t1`"),
        ((Clause(tokens=(1, 2, 3)),), "`t1`, `t2` or `t3`"),
        (
            (Clause(tokens=tuple(range(9))),),
            "`t0`, `t1`, `t2`, `t3`, `t4`, `t5`, `t6`, `t7` or `t8`",
        ),
        ((Clause(concepts=(RuleConcept(2, False),)),), "a digit"),
        ((Clause(concepts=(RuleConcept(1, False),)),), "any token in a string"),
        (
            (Clause(tokens=(1,), concepts=(RuleConcept(2, False), RuleConcept(1, False))),),
            "`t1` as a digit in a string",
        ),
        ((Clause(previous=(1,)),), "any token after `t1`"),
        (
            (Clause(tokens=(2,), concepts=(RuleConcept(1, True),)),),
            "`t2` after a token in a string",
        ),
        ((Clause(tokens=(2,), earlier=(1,)),), "`t2` two tokens after `t1`"),
        ((Clause(tokens=(2,), previous=(3,), earlier=(1,)),), "`t2` after `t3` after `t1`"),
        (
            (Clause(tokens=(2,)), Clause(concepts=(RuleConcept(2, True),))),
            "`t2`; or any token after a digit",
        ),
        ((Clause(),), "any token"),
    ],
)
def test_rules_in_words(rule, words):
    assert describe(rule, WORDS, lambda token: token_text(VOCABULARY[token])) == words
    assert rule_as_data(rule, NAMES)[0]["tokens"] == list(rule[0].tokens)


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (b" self", "`␣self`"),
        (b"self", "`self`"),
        (b"\n", "`↵`"),
        (b"    ", "`␣×4`"),
        (b"\n        ", "`↵␣×8`"),
        (b"\xff", "`<0xFF>`"),
        ("\u200b".encode(), "`U+200B`"),
        (b"\0", "`U+0000`"),
        (b" ", "`␣`"),
    ],
)
def test_tokens_inside_a_sentence(token, shown):
    assert token_text(token) == shown


def test_no_text_is_on_both_sides_and_the_seed_decides():
    sides = DocumentSplit(0.5, seed=1)
    contexts = [
        [f"text {i // 3}", f"text {i // 3 + 1}"] if i % 3 == 2 else [f"text {i // 3}"]
        for i in range(600)
    ]
    dealt = [(texts, sides.side_of(texts)) for texts in contexts]
    by_side = {
        side: {t for texts, s in dealt if s is side for t in texts} for side in (True, False)
    }
    assert not by_side[True] & by_side[False]
    assert min(map(len, by_side.values())) > 50
    assert None in {side for _, side in dealt}
    other = DocumentSplit(0.5, seed=2)
    assert [side for _, side in dealt] != [other.side_of(texts) for texts in contexts]
    same = DocumentSplit(0.5, seed=1)
    assert [side for _, side in dealt] == [same.side_of(texts) for texts in contexts]


def test_what_a_feature_promotes_is_named_by_its_class_and_scored_on_the_next_token():
    vocabulary = [
        b")",
        b" )",
        b"]",
        b"}",
        b"))",
        b")]",
        b"),",
        b"])",
        b")\n",
        b"})",
        *(f"w{i}".encode() for i in range(90)),
    ]
    blank = evidence(contexts=200)
    wide = blank._replace(ids=blank.ids, following=blank.following)
    where = (wide.following >= 0) & (wide.following < 10)
    found = evidence({0: where}, contexts=200)
    unembedding = torch.zeros(100, 4)
    unembedding[:10, 0] = torch.arange(10, 0, -1.0)
    unembedding[10:20, 2] = 1.0
    lens = Readout(torch.ones(4), False, unembedding, torch.arange(100))
    closing = Row(
        "character.closing",
        "a closing bracket",
        lambda d: d.tokens_in((i, i + 1) for i, c in enumerate(d.text) if c in ")]}"),
    )
    classes = promoted_token_labels.TokenClasses([closing], vocabulary)
    directions = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1.0, 0]])
    records = [
        r
        for r in promoted_token_labels.label_promoted_tokens(
            found, [0, 1], lens, directions, classes, vocabulary
        )
        if hasattr(r, "provenance")
    ]
    assert records[0].text == "promotes a closing bracket: `)`, `␣)`, `]`, `}`, `))`, `)]`"
    assert records[0].provenance["class"] == "character.closing"
    (score,) = records[0].scores
    assert (score.kind, score.value, score.auroc, score.balanced_accuracy) == ("promotes", 1, 1, 1)
    (silent,) = records[1].scores
    assert (silent.auroc, silent.balanced_accuracy) == (0.5, 0.5)  # it never fires


def test_activations_are_ranked_into_levels_that_keep_their_order():
    values = np.array([0, 0.1, 5, 0, 2, 2, 9], dtype=np.float32)
    level = rank_levels(values, max_levels=3)
    assert (level == 0).tolist() == (values == 0).tolist()
    order = np.argsort(values, kind="stable")
    assert (np.diff(level[order]) >= 0).all()
    assert level.max() <= 3
