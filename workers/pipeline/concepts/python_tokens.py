"""Concepts of Python source by its tokens: keywords, names, operators, the parts of strings."""

import builtins
import keyword
from collections.abc import Callable

from workers.pipeline.concepts.concept import Concept, lexeme_concept
from workers.pipeline.concepts.python_source import PythonToken
from workers.pipeline.concepts.span_index import Span
from workers.pipeline.concepts.tokenized_document import Document, Flags

EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)
TYPES = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and name.islower()
) - {
    "type",
    "super",
}
FUNCTIONS = frozenset(name for name in vars(builtins) if name.islower() and name[0] != "_") - TYPES
CONSTANTS = ("True", "False", "None")
ASSIGNMENT = frozenset(["EQUAL", "COLONEQUAL"])
COMPARISON = frozenset(["EQEQUAL", "NOTEQUAL", "LESS", "GREATER", "LESSEQUAL", "GREATEREQUAL"])
ARITHMETIC = frozenset(
    ["PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "DOUBLESLASH", "DOUBLESTAR", "AT"]
)
BITWISE = frozenset(["VBAR", "AMPER", "CIRCUMFLEX", "TILDE", "LEFTSHIFT", "RIGHTSHIFT"])
OPERATORS = COMPARISON | ARITHMETIC | BITWISE | ASSIGNMENT


def _is_string(token: PythonToken) -> bool:
    return token.kind == "STRING" or token.kind.startswith("FSTRING")


def _has_kind(*kinds: str) -> Callable[[PythonToken], bool]:
    return lambda token: token.kind in kinds


def _has_text(*texts: str) -> Callable[[PythonToken], bool]:
    return lambda token: token.text in texts


def _has_prefix(letter: str) -> Callable[[PythonToken], bool]:
    """Match strings with a letter before their quotes."""
    return lambda token: (
        token.kind == "STRING"
        and letter in token.text[: len(token.text) - len(token.text.lstrip("rbfuRBFU"))].lower()
    )


def _quotes(document: Document) -> list[tuple[Span, Span]]:
    """Return the spans of the opening (prefix and quotes) and the closing of each string."""
    quotes = []
    for start, end in document.python.tokens.spans_of(_has_kind("STRING")).tolist():
        text = document.python.text[start:end]
        prefix = len(text) - len(text.lstrip("rbfuRBFU"))
        size = 3 if text[prefix : prefix + 3] in ('"""', "'''") else 1
        quotes.append(((start, start + prefix + size), (end - size, end)))
    return quotes


def _string_openings(document: Document) -> Flags:
    return document.tokens_in(opening for opening, _ in _quotes(document))


def _string_closings(document: Document) -> Flags:
    return document.tokens_in(closing for _, closing in _quotes(document))


def _string_beginnings(document: Document) -> Flags:
    return document.tokens_in(
        (opening[1], opening[1] + 12)
        for opening, closing in _quotes(document)
        if closing[0] - opening[1] > 12
    )


def _triple_quoted_strings(document: Document) -> Flags:
    return document.tokens_in(
        (opening[0], closing[1])
        for opening, closing in _quotes(document)
        if opening[1] - opening[0] >= 3
    )


PYTHON_TOKENS: tuple[Concept, ...] = (
    *(
        lexeme_concept(f"keyword.{name}", f"`{name}`, the keyword", _has_text(name))
        for name in keyword.kwlist
    ),
    lexeme_concept(
        "python.keyword",
        "a keyword",
        lambda token: keyword.iskeyword(token.text) and token.text not in CONSTANTS,
    ),
    lexeme_concept(
        "python.constant", "`True`, `False` or `None`", lambda token: token.text in CONSTANTS
    ),
    lexeme_concept(
        "python.name",
        "a name in code",
        lambda token: token.kind == "NAME" and not keyword.iskeyword(token.text),
    ),
    lexeme_concept(
        "python.builtin",
        "a built-in function",
        lambda token: token.kind == "NAME" and token.text in FUNCTIONS,
    ),
    lexeme_concept(
        "python.type", "a built-in type", lambda token: token.kind == "NAME" and token.text in TYPES
    ),
    lexeme_concept(
        "python.exception",
        "a built-in exception",
        lambda token: token.kind == "NAME" and token.text in EXCEPTIONS,
    ),
    lexeme_concept("python.self", "`self` in code", lambda token: token.text == "self"),
    lexeme_concept("python.cls", "`cls` in code", lambda token: token.text == "cls"),
    lexeme_concept("python.comment", "in a comment", _has_kind("COMMENT")),
    lexeme_concept("python.string", "in a string", _is_string),
    lexeme_concept("python.bytes", "in bytes", _has_prefix("b")),
    lexeme_concept("python.raw", "in a raw string", _has_prefix("r")),
    Concept("python.triple", "in a triple-quoted string", _triple_quoted_strings),
    Concept("python.string-opens", "where a string opens", _string_openings),
    Concept("python.string-closes", "where a string closes", _string_closings),
    Concept("python.string-begins", "at the beginning of a long string", _string_beginnings),
    lexeme_concept("python.number", "a number in code", _has_kind("NUMBER")),
    lexeme_concept(
        "python.float",
        "a number with a fraction in code",
        lambda token: token.kind == "NUMBER" and ("." in token.text or "e" in token.text),
    ),
    lexeme_concept(
        "python.zero-one",
        "0 or 1 in code",
        lambda token: token.kind == "NUMBER" and token.text in ("0", "1"),
    ),
    lexeme_concept(
        "python.operator",
        "an operator",
        lambda token: token.kind in OPERATORS or token.kind.endswith("EQUAL"),
    ),
    lexeme_concept("python.assigns", "`=` in code", lambda token: token.kind in ASSIGNMENT),
    lexeme_concept("python.compares", "a comparison sign", lambda token: token.kind in COMPARISON),
    lexeme_concept(
        "python.counts", "an arithmetic sign in code", lambda token: token.kind in ARITHMETIC
    ),
    lexeme_concept("python.bitwise", "a bitwise operator", lambda token: token.kind in BITWISE),
    lexeme_concept(
        "python.augments",
        "an operator that assigns, such as `+=`",
        lambda token: (
            token.kind.endswith("EQUAL")
            and token.text[-1:] == "="
            and token.kind not in COMPARISON | ASSIGNMENT
        ),
    ),
    lexeme_concept("python.dot", "a dot in code", _has_kind("DOT")),
    lexeme_concept("python.comma", "a comma in code", _has_kind("COMMA")),
    lexeme_concept("python.colon", "a colon in code", _has_kind("COLON")),
    lexeme_concept("python.arrow", "`->`", _has_kind("RARROW")),
    lexeme_concept(
        "python.opens", "an opening bracket in code", _has_kind("LPAR", "LSQB", "LBRACE")
    ),
    lexeme_concept(
        "python.closes", "a closing bracket in code", _has_kind("RPAR", "RSQB", "RBRACE")
    ),
    lexeme_concept("python.statement-ends", "the end of a statement", _has_kind("NEWLINE")),
    lexeme_concept(
        "python.line-goes-on", "a line end inside brackets or after a comment", _has_kind("NL")
    ),
    lexeme_concept("python.indents", "where a block begins", lambda token: token.kind == "INDENT"),
)
