"""Names of clauses: a label of at most `MAX_NAME_LENGTH` characters that is read at a glance."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int32, Int64

from workers.pipeline.labelling.evidence import Evidence
from workers.pipeline.labelling.rule_text import PLACE_PREFIXES, after, list_texts, phrase
from workers.pipeline.labelling.rules import KEYS, Clause

MAX_NAME_LENGTH = 60
LISTED = (3, 2, 1)
"""Tokens of a set that a name lists, as many as fit."""
SAMPLED = 2_000
"""Occurrences of a set that are looked at for a noun."""
BLANK_BEFORE = "`␣"
"""How the text of a token begins that has a blank before its word."""
ANY_SPACING = " with or without a blank before"
COMMON_SHARE = 0.9
"""Share of a set's occurrences that must have a concept, for the concept to name the set."""

PLURALS = {
    "character.digit": "digits",
    "character.opening": "opening brackets",
    "character.closing": "closing brackets",
    "character.line-end": "line ends",
    "character.punctuation": "punctuation",
    "english.adjective": "adjectives",
    "english.adverb": "adverbs",
    "english.auxiliary": "forms of be, have or do",
    "english.conjunction": "conjunctions",
    "english.day": "weekdays",
    "english.gerund": "verbs in -ing",
    "english.modal": "modal verbs",
    "english.month": "months",
    "english.noun": "nouns",
    "english.number-word": "numbers in words",
    "english.past": "verbs in -ed",
    "english.plural": "plural nouns",
    "english.preposition": "prepositions",
    "english.pronoun": "pronouns",
    "english.quantity": "words of quantity",
    "english.question": "question words",
    "english.verb": "verbs",
    "line.indentation": "indentations",
    "number.year": "years",
    "python.attribute": "attributes",
    "python.builtin": "built-in functions",
    "python.called": "functions",
    "python.class-name": "class names",
    "python.compares": "comparison signs",
    "python.counts": "arithmetic signs",
    "python.def-name": "function names",
    "python.exception": "exceptions",
    "python.imported": "imported names",
    "python.keyword": "keywords",
    "python.keyword-name": "keyword arguments",
    "python.method": "methods",
    "python.method-name": "method names",
    "python.name": "names",
    "python.number": "numbers",
    "python.operator": "operators",
    "python.parameter": "parameters",
    "python.self-attribute": "attributes of `self`",
    "python.test-name": "test names",
    "python.type": "types",
    "word.camel": "CamelCase names",
    "word.capitals": "words in capitals",
    "word.capitalised": "capitalised words",
    "word.constant": "names of constants",
    "word.dunder": "names between double underscores",
    "word.private": "private names",
    "word.snake": "snake_case names",
}
"""What tokens with a concept are called, for concepts that can name a set of tokens."""


class ClauseNames:
    """Names clauses on the evidence; `token_text` is the text of a token in a sentence."""

    def __init__(self, evidence: Evidence, token_text: Callable[[int], str]) -> None:
        self._evidence, self._token_text = evidence, token_text
        nouns = [(column, PLURALS.get(name, "")) for column, name in enumerate(evidence.names)]
        self._nouns = {column: noun for column, noun in nouns if noun}
        columns = list(self._nouns)
        shares = evidence.concepts_of(np.arange(0, len(evidence.ids), 8))[:, columns].mean(0)
        self._by_share = [columns[i] for i in np.argsort(shares, kind="stable").tolist()]

    def name(
        self,
        clause: Clause,
        keys: Sequence[Int32[np.ndarray, " tokens"]],
        right: Int64[np.ndarray, " right"],
    ) -> str:
        """Return the name of a clause that lists the most tokens and has at most
        `MAX_NAME_LENGTH` characters, or else the shortest.

        `keys` are the tokens of each key by row, and `right` the rows that the clause matches
        rightly.
        """
        names = [self._phrase(clause, keys, right, listed) for listed in LISTED]
        return next((name for name in names if len(name) <= MAX_NAME_LENGTH), names[-1])

    def _phrase(
        self, clause: Clause, keys: Sequence[np.ndarray], right: np.ndarray, listed: int
    ) -> str:
        sets = [
            self._by_frequency(getattr(clause, name), keys[key][right])
            for key, name in enumerate(KEYS)
        ]
        own = [concept.column for concept in clause.concepts if not concept.before]
        before = [self._evidence.words[c.column] for c in clause.concepts if c.before]
        if clause._replace(tokens=(), precision=0.0) == Clause() and len(sets[0]) == 1:
            return sets[0][0] + (ANY_SPACING if len(clause.tokens) > 1 else "")
        text = self._subject(sets[0], own, right, listed)
        previous = _listing(sets[1], listed)
        if previous or before:
            previous = phrase(previous, before, "a token")
        return after(text, previous, _listing(sets[2], listed))

    def _subject(
        self, texts: Sequence[str], columns: Sequence[int], right: np.ndarray, listed: int
    ) -> str:
        """The tokens themselves: a set that is too long to list goes by a noun, if it has one."""
        words = [self._evidence.words[column] for column in columns]
        if len(texts) > listed:
            named = [column for column in columns if column in self._nouns][:1]
            named = named or self._common_concept(right)
            if named:
                words = [word for word in words if word.startswith(PLACE_PREFIXES)]
                shown = f"{self._nouns[named[0]]} such as {', '.join(texts[:listed])}"
                return phrase(shown, words, "")
        return phrase(_listing(texts, listed), words, "any token")

    def _common_concept(self, rows: Int64[np.ndarray, " rows"]) -> list[int]:
        """The rarest concept with a noun that nearly all of these rows have, if there is one."""
        if not len(rows):
            return []
        shares = self._evidence.concepts_of(rows[:SAMPLED])[:, self._by_share].mean(0)
        return [self._by_share[i] for i in np.flatnonzero(shares >= COMMON_SHARE)[:1]]

    def _by_frequency(self, tokens: Sequence[int], occurring: np.ndarray) -> list[str]:
        """The texts of tokens, the most frequent ones first."""
        counts = np.bincount(occurring[occurring >= 0], minlength=max(tokens, default=0) + 1)
        ordered = sorted(tokens, key=lambda token: -int(counts[token]))
        return _without_variants([self._token_text(token) for token in ordered])


def _without_variants(texts: Sequence[str]) -> list[str]:
    """Each text once; a word that is in a set with and without a blank before it, without."""
    bare = {text for text in texts if not text.startswith(BLANK_BEFORE)}
    plain = [text.replace(BLANK_BEFORE, "`", 1) for text in texts]
    return list(
        dict.fromkeys(
            without if without in bare else text for text, without in zip(texts, plain, strict=True)
        )
    )


def _listing(texts: Sequence[str], listed: int) -> str:
    return f"{', '.join(texts[:listed])}, …" if len(texts) > listed else list_texts(texts)
