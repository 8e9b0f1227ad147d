"""Queries of the search by label as words: known words, corrections of typos, and the words of a
label that match.

SQL functions (features/migrations/0001_functions.py) split, stem and look up the words of queries
and of labels, so both are always split alike. No part of a query reaches the parser of
`to_tsquery`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.contrib.postgres.search import SearchQuery
from django.db import connection

MAX_QUERY_LENGTH = 500
"""Characters of a query: as many as a label may have. What is longer is a text, for which there is
another search.
"""
MIN_PREFIX_LENGTH, MIN_TYPO_LENGTH, MAX_CORRECTIONS = 3, 4, 5
MAX_COMPLETIONS = 50
"""A prefix is replaced by at most so many words. The index finds these at once; for a prefix of
thousands of words all of it would be read, which takes longer than the rest of the query.
"""

PARSE_QUERY = """
SELECT part, lexemes, is_word, known, begun,
    CASE WHEN is_word AND NOT known AND length(part) BETWEEN %(typo)s AND 40 THEN ARRAY(
        SELECT k.word FROM features_labelword k WHERE k.one_less && features_one_less(part)
        GROUP BY k.word ORDER BY bool_and(k.stem), left(k.word, 1) <> left(part, 1), k.word
    ) ELSE '{}' END
FROM features_parts(%(query)s) WITH ORDINALITY AS parts (part, place)
CROSS JOIN LATERAL (SELECT features_lexemes(part) AS lexemes,
    part ~ '^[[:alnum:]]' AS is_word OFFSET 0) AS cut
CROSS JOIN LATERAL (SELECT CASE
    WHEN is_word AND (length(part) >= %(prefix)s OR octet_length(part) > length(part)) THEN ARRAY(
        SELECT k.word FROM features_labelword k WHERE k.word ~>=~ part
            AND k.word ~<~ (part || chr(1114111))
        LIMIT %(beginnings)s + 1
    ) ELSE '{}' END AS begun OFFSET 0
) AS further
CROSS JOIN LATERAL (
    SELECT begun <> '{}' OR EXISTS (SELECT FROM features_labelword k
        WHERE k.word = ANY(lexemes)) AS known OFFSET 0
) AS found
ORDER BY place
"""

LABELS_PER_WORD = """
WITH known AS (
    SELECT s.most_common_elems::text::text[] AS words, s.most_common_elem_freqs AS shares,
        labels.reltuples
    FROM pg_class labels JOIN pg_stats s ON s.tablename = labels.relname
        AND s.schemaname = current_schema()
    WHERE labels.oid = 'features_label'::regclass AND s.attname = 'words'
)
SELECT common.word, common.share * reltuples FROM known, unnest(words, shares) common (word, share)
WHERE common.word = ANY(%s) OR common.word ^@ ANY(%s)
UNION ALL SELECT NULL, shares[cardinality(words) + 1] * reltuples / 2 FROM known
"""
"""Labels per word by PostgreSQL's statistics; the last row, without a word, is its estimate for all
other words: half of the least common known word.
"""


class Word(NamedTuple):
    """A word of a query, or a run of signs: `lexemes` are itself and its stem (of signs each),
    `known` says whether a label has it or one that begins so; where none has, `instead` are words
    that are one typo away. `begun` are the words that begin with it, empty where it is too short
    for that; more than `MAX_BEGINNINGS` are not all of them.
    """

    text: str
    lexemes: list[str]
    is_word: bool
    known: bool
    completions: list[str]
    corrections: list[str]

    @property
    def prefix(self) -> bool:
        """Whether to search words that begin with it too; short ASCII words begin too many."""
        return self.is_word and (len(self.text) >= MIN_PREFIX_LENGTH or not self.text.isascii())

    @property
    def has_too_many_completions(self) -> bool:
        """Whether `completions` is incomplete."""
        return len(self.completions) > MAX_COMPLETIONS

    def search_lexemes(self) -> list[str]:
        """The lexemes that it looks for, without those of a beginning that is cut off."""
        return list(
            dict.fromkeys(
                [
                    *self.lexemes,
                    *([] if self.has_too_many_completions else self.completions),
                    *self.corrections,
                ]
            )
        )

    def tsquery(self) -> str:
        """It, its stem, what begins with it, or what it is a typo of; of a run of signs all of
        them.
        """
        if not self.is_word:
            return (
                f"({_quoted(self.text)} | "
                f"({' & '.join(map(_quoted, self.lexemes[1:] or self.lexemes))}))"
            )
        beginning = [f"{_quoted(self.text)}:*"] if self.has_too_many_completions else []
        return f"({' | '.join([*map(_quoted, self.search_lexemes()), *beginning])})"

    def exact(self) -> str:
        """The tsquery of labels that have it itself."""
        return _quoted(self.text)

    def matches(self, part: str, lexemes: Iterable[str]) -> bool:
        """Whether a word of a label, of those lexemes, is what it looks for."""
        wanted = {*self.lexemes, *self.corrections}
        return not wanted.isdisjoint(lexemes) or (self.prefix and part.startswith(self.text))


class Lexemes(SearchQuery):
    """A query in the language of `tsquery` whose lexemes are quoted: PostgreSQL takes them as they
    are.
    """

    template = "(%(expressions)s)::tsquery"

    def __init__(self, value: str, **kwargs: Any) -> None:
        super().__init__(value, **kwargs)
        self.set_source_expressions(self.get_source_expressions()[-1:])


class LabelQuery(NamedTuple):
    """A query that was read."""

    words: list[Word]

    def needed(self) -> list[Word]:
        """The words that a label must contain, or the signs if there are no words: in “closing (”
        the sign only affects the ranking.
        """
        return [word for word in self.words if word.is_word] or self.words

    def every(self) -> str:
        """The tsquery of labels that have every word."""
        return " & ".join(word.tsquery() for word in self.needed())

    def corrected(self) -> list[Word]:
        """Words that were taken for typos of others."""
        return [word for word in self.words if word.corrections]


def parse_label_query(text: str) -> LabelQuery:
    """The words of a query, each once, in one statement. A NUL is a blank, for no text in the
    database has one.
    """
    with connection.cursor() as cursor:
        values: dict[str, str | int] = {
            "query": text.replace("\0", " "),
            "prefix": MIN_PREFIX_LENGTH,
            "typo": MIN_TYPO_LENGTH,
            "beginnings": MAX_COMPLETIONS,
        }
        cursor.execute(PARSE_QUERY, values)
        found = {row[0]: _word(*row) for row in cursor.fetchall()}
    return LabelQuery(list(found.values()))


def any_of(words: Iterable[Word]) -> str:
    """The tsquery of labels that have one of these or more."""
    return " | ".join(word.tsquery() for word in words)


def rarest(words: Sequence[Word], most: int) -> list[Word]:
    """The most selective words: the rarest first, as long as PostgreSQL expects no more than `most`
    labels, and at least one.

    One query, from the statistics of the last ANALYZE. Words that no label contains are left out if
    there are others.
    """
    words = [word for word in words if word.known or word.corrections] or words
    lexemes = [lexeme for word in words for lexeme in word.search_lexemes()]
    with connection.cursor() as cursor:
        cursor.execute(
            LABELS_PER_WORD,
            [lexemes, [word.text for word in words if word.has_too_many_completions]],
        )
        found = cursor.fetchall()
    common = {lexeme: labels for lexeme, labels in found if lexeme is not None}
    other = next((labels for lexeme, labels in found if lexeme is None), 0.0)
    expected = [
        sum(common.get(lexeme, other) for lexeme in word.search_lexemes())
        + sum(
            n
            for lexeme, n in common.items()
            if word.has_too_many_completions and lexeme.startswith(word.text)
        )
        for word in words
    ]
    ranked = sorted(range(len(words)), key=expected.__getitem__)
    return [
        words[i]
        for n, i in enumerate(ranked)
        if n == 0 or sum(expected[j] for j in ranked[: n + 1]) <= most
    ]


def of_saes(saes: Sequence[int] | None) -> str:
    """The tsquery of labels of SAEs of those ids, to be put after " & "; empty for any."""
    return "" if saes is None else f" & ({' | '.join(_quoted(f'sae:{pk}') for pk in saes)})"


def stems(parts: Iterable[str]) -> dict[str, list[str]]:
    """The lexemes of words and signs, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT part, features_lexemes(part) FROM unnest(%s::text[]) part", [list(parts)]
        )
        return dict(cursor.fetchall())


def one_typo(first: str, second: str) -> bool:
    """Whether one letter more, less or other, or two neighbours swapped, make one word of the
    other.
    """
    if abs(len(first) - len(second)) > 1 or first == second:
        return False
    head = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )
    a, b = first[head:], second[head:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def _word(
    text: str,
    lexemes: list[str],
    is_word: bool,
    known: bool,
    completions: list[str],
    near: list[str],
) -> Word:
    """With corrections where it is unknown: words before mere stems, those with its first letter
    first.
    """
    possible = [] if known or not is_word else [word for word in near if one_typo(text, word)]
    return Word(
        text, list(dict.fromkeys(lexemes)), is_word, known, completions, possible[:MAX_CORRECTIONS]
    )


def _quoted(lexeme: str) -> str:
    inside = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{inside}'"
