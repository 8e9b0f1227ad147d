"""Concepts of words, by what a dictionary says they can be, and by lists that people give.

The dictionary is LemmInflect's, made from the SPECIALIST Lexicon; it comes with the package. A word
that can be several things is all of them. A word is a run of letters, so the parts of `snake_case`
names are words of their own.
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
    found: dict[str, tuple[str, ...]] = getAllLemmas(word)
    return found


def _where(name: str, words: str, wanted: Callable[[str], bool]) -> Concept:
    """Tokens that hold a character of a word that is wanted; words in small letters."""

    known = lru_cache(maxsize=1 << 16)(wanted)
    return Concept(name, words, lambda document: document.between(document.words.where(known)))


def _one_of(name: str, words: str, members: Collection[str]) -> Concept:
    chosen = frozenset(members)
    return _where(name, words, lambda word: word in chosen)


def _can_be(part: str) -> Callable[[str], bool]:
    return lambda word: len(word) > 1 and part in _lemmas(word)


def _only(part: str) -> Callable[[str], bool]:
    return lambda word: len(word) > 1 and set(_lemmas(word)) == {part}


def _inflected(part: str, ending: str) -> Callable[[str], bool]:
    """Whether a word is that part of speech in another form than its lemma, with that ending."""
    return lambda word: (
        word.endswith(ending) and any(lemma != word for lemma in _lemmas(word).get(part, ()))
    )


DICTIONARY: tuple[Concept, ...] = (
    *(_one_of(f"english.{name}", words, members.split()) for name, words, members in CLASSES),
    _one_of("english.function-word", "a function word of English", ENGLISH_STOP_WORDS),
    _one_of("english.month", "the name of a month", MONTHS),
    _one_of("english.day", "the name of a weekday", DAYS),
    _where("english.noun", "a word that can only be a noun", _only("NOUN")),
    _where("english.verb", "a word that can only be a verb", _only("VERB")),
    _where("english.adjective", "a word that can only be an adjective", _only("ADJ")),
    _where("english.adverb", "an adverb", _can_be("ADV")),
    _where(
        "english.noun-or-verb",
        "a word that can be noun and verb",
        lambda w: _can_be("NOUN")(w) and _can_be("VERB")(w),
    ),
    _where("english.plural", "a noun in the plural", _inflected("NOUN", "s")),
    _where("english.past", "a verb that ends in -ed", _inflected("VERB", "ed")),
    _where("english.gerund", "a verb that ends in -ing", _inflected("VERB", "ing")),
    _where("english.third-person", "a verb that ends in -s", _inflected("VERB", "s")),
    _where(
        "english.comparative",
        "an adjective that ends in -er or -est",
        lambda word: _inflected("ADJ", "er")(word) or _inflected("ADJ", "est")(word),
    ),
    _where(
        "english.unknown",
        "a word that no dictionary has",
        lambda word: len(word) > 2 and not _lemmas(word),
    ),
)
