"""Concepts of English words: by closed word classes, and by the parts of speech in a dictionary.

The dictionary is LemmInflect's, derived from the SPECIALIST Lexicon, and is part of that package. A
word that can be several parts of speech counts as all of them. A word is a run of letters, so the
parts of a `snake_case` name are words of their own.
"""

import calendar
from collections.abc import Callable, Collection
from functools import lru_cache

from lemminflect import getAllLemmas
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from workers.pipeline.concepts.concept import Concept

CLASSES = (
    ("article", "an article", "a an the"),
    (
        "preposition",
        "a preposition",
        "about above after against at before below between by during for from in into of off on "
        "onto over through to under "
        "until upon with within without",
    ),
    (
        "pronoun",
        "a pronoun",
        "i you he she it we they me him her us them my your his its our their mine yours hers "
        "ours theirs this that these "
        "those who whom whose which",
    ),
    (
        "conjunction",
        "a conjunction",
        "and or but nor so yet if because although though while unless since whether",
    ),
    (
        "auxiliary",
        "a form of be, have or do",
        "be am is are was were been being have has had having do does did doing done",
    ),
    ("modal", "a modal verb", "can could may might must shall should will would cannot"),
    (
        "negation",
        "a negation",
        "no not never none nothing neither nor cannot isn doesn don didn won without",
    ),
    ("question", "a question word", "what when where which who why how"),
    (
        "quantity",
        "a word of quantity",
        "all any both each every few many more most much none one other several some such only",
    ),
    (
        "number-word",
        "a number in words",
        "zero one two three four five six seven eight nine ten eleven twelve hundred thousand "
        "million first second third "
        "fourth fifth last",
    ),
)
MONTHS = frozenset(
    name.lower() for name in (*calendar.month_name[1:], *calendar.month_abbr[1:])
) - {"may", "mar"}
DAYS = frozenset(name.lower() for name in (*calendar.day_name, *calendar.day_abbr)) - {"sun", "sat"}


@lru_cache(maxsize=1 << 16)
def _lemmas(word: str) -> dict[str, tuple[str, ...]]:
    lemmas: dict[str, tuple[str, ...]] = getAllLemmas(word)
    return lemmas


def _word_concept(name: str, words: str, predicate: Callable[[str], bool]) -> Concept:
    """Return the concept of tokens that overlap a word, in lower case, for which `predicate` is
    true.
    """
    cached = lru_cache(maxsize=1 << 16)(predicate)
    return Concept(
        name, words, lambda document: document.tokens_in_array(document.words.spans_of(cached))
    )


def _member_concept(name: str, words: str, members: Collection[str]) -> Concept:
    return _word_concept(name, words, frozenset(members).__contains__)


def _can_be(part_of_speech: str) -> Callable[[str], bool]:
    return lambda word: len(word) > 1 and part_of_speech in _lemmas(word)


def _can_only_be(part_of_speech: str) -> Callable[[str], bool]:
    return lambda word: len(word) > 1 and set(_lemmas(word)) == {part_of_speech}


def _is_inflected(part_of_speech: str, ending: str) -> Callable[[str], bool]:
    """Match inflected forms of a part of speech that have an ending."""
    return lambda word: (
        word.endswith(ending)
        and any(lemma != word for lemma in _lemmas(word).get(part_of_speech, ()))
    )


DICTIONARY: tuple[Concept, ...] = (
    *(
        _member_concept(f"english.{name}", words, members.split())
        for name, words, members in CLASSES
    ),
    _member_concept("english.function-word", "an English function word", ENGLISH_STOP_WORDS),
    _member_concept("english.month", "the name of a month", MONTHS),
    _member_concept("english.day", "the name of a weekday", DAYS),
    _word_concept("english.noun", "a noun", _can_only_be("NOUN")),
    _word_concept("english.verb", "a verb", _can_only_be("VERB")),
    _word_concept("english.adjective", "an adjective", _can_only_be("ADJ")),
    _word_concept("english.adverb", "an adverb", _can_be("ADV")),
    _word_concept(
        "english.noun-or-verb",
        "a noun or verb",
        lambda word: _can_be("NOUN")(word) and _can_be("VERB")(word),
    ),
    _word_concept("english.plural", "a noun in the plural", _is_inflected("NOUN", "s")),
    _word_concept("english.past", "a verb that ends in -ed", _is_inflected("VERB", "ed")),
    _word_concept("english.gerund", "a verb that ends in -ing", _is_inflected("VERB", "ing")),
    _word_concept("english.third-person", "a verb that ends in -s", _is_inflected("VERB", "s")),
    _word_concept(
        "english.comparative",
        "an adjective that ends in -er or -est",
        lambda word: _is_inflected("ADJ", "er")(word) or _is_inflected("ADJ", "est")(word),
    ),
    _word_concept(
        "english.unknown",
        "a word in no dictionary",
        lambda word: len(word) > 2 and not _lemmas(word),
    ),
)
