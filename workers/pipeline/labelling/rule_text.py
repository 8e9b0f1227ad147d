"""Rules in words, for labels, and as data, for provenance."""

from collections.abc import Callable, Iterable, Sequence

from features import character_names
from workers.pipeline.labelling.rules import Clause, Rule

PLACE_PREFIXES = ("in ", "inside ", "between ", "at ", "where ", "beyond ")
"""How the words of concepts begin that say where a token is, not what it is."""

TokenText = Callable[[int], str]
"""Returns the text of a token id."""


def describe(rule: Rule, words: Sequence[str], token_text: TokenText) -> str:
    """Return a rule in words, in the order of its clauses. `words` are those of the concepts."""
    return "; or ".join(_describe_clause(clause, words, token_text) for clause in rule)


def rule_as_data(rule: Rule, names: Sequence[str]) -> list[dict[str, object]]:
    """Return a rule as token ids and names of concepts, for JSON."""
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


def _describe_clause(clause: Clause, words: Sequence[str], token_text: TokenText) -> str:
    tokens, previous, earlier = (
        list_texts(dict.fromkeys(token_text(token) for token in ids))
        for ids in (clause.tokens, clause.previous, clause.earlier)
    )
    own_words = [words[one.column] for one in clause.concepts if not one.before]
    previous_words = [words[one.column] for one in clause.concepts if one.before]
    text = phrase(tokens, own_words, "any token")
    if previous or previous_words:
        previous = phrase(previous, previous_words, "a token")
    return after(text, previous, earlier)


def phrase(tokens: str, words: Sequence[str], default: str) -> str:
    """Return tokens and concepts as one phrase, such as: `self` as a parameter of a function in a
    docstring.
    """
    kinds = " and ".join(word for word in words if not word.startswith(PLACE_PREFIXES))
    places = [word for word in words if word.startswith(PLACE_PREFIXES)]
    subject = f"{tokens} as {kinds}" if tokens and kinds else tokens or kinds or default
    return " ".join([subject, *places])


def after(text: str, previous: str, earlier: str) -> str:
    """Return the text with the phrases of the token before and the one before that, if any."""
    if previous:
        text = f"{text} after {previous}"
        return f"{text} after {earlier}" if earlier else text
    return f"{text} two tokens after {earlier}" if earlier else text


def list_texts(texts: Iterable[str]) -> str:
    """Return texts as a list in words: a, b or c."""
    *first, last = [*texts] or [""]
    return f"{', '.join(first)} or {last}" if first else last


def token_text(token: bytes) -> str:
    """Return a token between backticks, for use in a sentence.

    A blank before a word is shown, because `␣as` and `as` are two tokens; other white space around
    a word is left out. A token of white space alone is shown as symbols, and characters that cannot
    be seen by their names (U+200B).
    """
    text = character_names.token_text(token)
    word = text.strip()
    if not word:
        return f"`{character_names.name_hidden(_white_space_symbols(text))}`"
    return f"`{'␣' if text.startswith(' ') else ''}{character_names.name_hidden(word)}`"


def _white_space_symbols(text: str) -> str:
    if text.strip(" ") == "" and len(text) > 2:
        return f"␣×{len(text)}"
    symbols = text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")
    head = symbols.rstrip("␣")
    spaces = len(symbols) - len(head)
    return f"{head}␣×{spaces}" if spaces > 2 else symbols
