"""Rules over concepts: what a label claims, token by token, and its words.

A rule is a few clauses, any of which may hold. A clause holds on a token that is one of `tokens`
(any, where there are none), comes after one of `previous`, and this after one of `earlier`, and has
all of `concepts`, some of them of the token before. What follows a token is in no clause, since a
causal model has not read it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from workers.pipeline.labelling.evidence import NOTHING, Evidence

TOLD = 6
"""Tokens of a set that a label names; the others are counted."""
PLACES = ("in ", "inside ", "between ", "at ", "where ", "beyond ")
"""How words begin that say where a token lies, not what it is."""


class Concept(NamedTuple):
    """A column of the evidence's flags: of the token itself, or of the one `before`."""

    column: int
    before: bool


class Clause(NamedTuple):
    """See the top of this file; `precision` is that on training tokens which no clause before this
    one holds on.
    """

    tokens: tuple[int, ...] = ()
    previous: tuple[int, ...] = ()
    earlier: tuple[int, ...] = ()
    concepts: tuple[Concept, ...] = ()
    precision: float = 0.0


Rule = tuple[Clause, ...]

KEYS = ("tokens", "previous", "earlier")
"""The sets of a clause, its first fields: of the token itself, the one before, and the one before
that.
"""


class Index:
    """Finds the tokens of the evidence on which a clause holds, without looking at all of them
    where it names some.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        earlier = np.where(evidence.before == NOTHING, NOTHING, evidence.previous[evidence.before])
        self.keys = (evidence.ids, evidence.previous, earlier)
        self._order = [np.argsort(key, kind="stable") for key in self.keys]
        self._begin = [
            np.concatenate([[0], np.cumsum(np.bincount(key - NOTHING))]) for key in self.keys
        ]

    def where(self, clause: Clause) -> Int64[np.ndarray, " rows"]:
        """The rows of the tokens, rising."""
        rows: Int64[np.ndarray, " rows"] | None = None
        for key, wanted in enumerate((clause.tokens, clause.previous, clause.earlier)):
            if wanted and rows is None:
                rows = self._of_tokens(key, wanted)
            elif wanted and rows is not None:
                rows = rows[np.isin(self.keys[key][rows], wanted)]
        for concept in clause.concepts:
            rows = self._having(concept, rows)
        return np.arange(len(self.evidence.ids)) if rows is None else rows

    def levels(self, rule: Rule) -> tuple[Int64[np.ndarray, " rows"], Int64[np.ndarray, " rows"]]:
        """The rows on which a clause holds, rising, and how sure the rule is there: from 1, most
        for the highest precision.
        """
        found = [
            self.where(clause) for clause in sorted(rule, key=lambda clause: -clause.precision)
        ]
        level = np.repeat(np.arange(len(found), 0, -1), [len(rows) for rows in found])
        rows, first = np.unique(np.concatenate(found), return_index=True)
        return rows, level[first]

    def _of_tokens(self, key: int, wanted: Sequence[int]) -> Int64[np.ndarray, " rows"]:
        order, begin = self._order[key], self._begin[key]
        places = [token - NOTHING for token in wanted if token - NOTHING + 1 < len(begin)]
        return np.sort(
            np.concatenate(
                [order[:0], *(order[begin[place] : begin[place + 1]] for place in places)]
            )
        )

    def _having(
        self, concept: Concept, rows: Int64[np.ndarray, " rows"] | None
    ) -> Int64[np.ndarray, " rows"]:
        """Those of the rows, or of all, that have a concept."""
        evidence, byte, bit = self.evidence, concept.column // 8, 7 - concept.column % 8
        if rows is None:
            rows = np.arange(len(evidence.ids))
        asked = evidence.before[rows] if concept.before else rows
        return rows[(evidence.flags[asked, byte] >> bit & 1 == 1) & (asked != NOTHING)]


def describe(
    rule: Rule, words: Sequence[str], shown: Callable[[int], str], told: int = TOLD
) -> str:
    """The rule in words, the clause of the most firings first; `shown` gives a token's text."""
    return "; or ".join(_clause(clause, words, shown, told) for clause in rule)


def provenance(rule: Rule, names: Sequence[str]) -> list[dict[str, object]]:
    """The rule as data: token ids and names of concepts."""
    return [
        {
            "tokens": list(clause.tokens),
            "previous": list(clause.previous),
            "earlier": list(clause.earlier),
            "concepts": [names[one.column] for one in clause.concepts if not one.before],
            "before": [names[one.column] for one in clause.concepts if one.before],
            "train_precision": round(clause.precision, 4),
        }
        for clause in rule
    ]


def _clause(clause: Clause, words: Sequence[str], shown: Callable[[int], str], told: int) -> str:
    here = [words[one.column] for one in clause.concepts if not one.before]
    there = [words[one.column] for one in clause.concepts if one.before]
    this = _said(_set(clause.tokens, shown, told), here, "any token")
    earlier = _set(clause.earlier, shown, told)
    if clause.previous or there:
        this = f"{this} after {_said(_set(clause.previous, shown, told), there, 'a token')}"
        return f"{this} after {earlier}" if earlier else this
    return f"{this} two tokens after {earlier}" if earlier else this


def _said(tokens: str, words: Sequence[str], anything: str) -> str:
    """A set of tokens and concepts as one phrase, such as: `self` as a parameter of a function in a
    docstring.
    """
    kinds = [one for one in words if not one.startswith(PLACES)]
    places = [one for one in words if one.startswith(PLACES)]
    what = " and ".join(kinds)
    first = f"{tokens} as {what}" if tokens and what else tokens or what or anything
    return " ".join([first, *places])


def _set(tokens: Sequence[int], shown: Callable[[int], str], told: int) -> str:
    if not tokens:
        return ""
    texts = list(dict.fromkeys(shown(token) for token in tokens))
    if len(texts) == 1:
        return texts[0]
    if len(texts) > told:
        return f"{', '.join(texts[:told])} or {len(texts) - told} more"
    return f"{', '.join(texts[:-1])} or {texts[-1]}"


def token_text(text: bytes) -> str:
    """A token inside a sentence, between backticks: blanks around a word are left out, other blanks
    are signs.
    """
    plain = text.decode("utf-8", "replace")
    kept = plain.strip() or _blanks(plain)
    return f"`{kept}`"


def _blanks(text: str) -> str:
    if text.strip(" ") == "" and len(text) > 2:
        return f"␣×{len(text)}"
    signs = text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")
    head = signs.rstrip("␣")
    return f"{head}␣×{len(signs) - len(head)}" if len(signs) - len(head) > 2 else signs
