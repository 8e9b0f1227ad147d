"""Concepts of Python text by its tokens: keywords, names, operators, the parts of strings."""

import builtins
import keyword
from collections.abc import Callable

from workers.pipeline.concepts.concept import Concept, lexeme
from workers.pipeline.concepts.document import Document, Flags
from workers.pipeline.concepts.grouped import Span
from workers.pipeline.concepts.python import Word

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
ASSIGNING = frozenset(["EQUAL", "COLONEQUAL"])
COMPARING = frozenset(["EQEQUAL", "NOTEQUAL", "LESS", "GREATER", "LESSEQUAL", "GREATEREQUAL"])
COUNTING = frozenset(
    ["PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "DOUBLESLASH", "DOUBLESTAR", "AT"]
)
BITWISE = frozenset(["VBAR", "AMPER", "CIRCUMFLEX", "TILDE", "LEFTSHIFT", "RIGHTSHIFT"])
OPERATORS = COMPARING | COUNTING | BITWISE | ASSIGNING


def _is_string(word: Word) -> bool:
    return word.kind == "STRING" or word.kind.startswith("FSTRING")


def _kind(*kinds: str) -> Callable[[Word], bool]:
    return lambda word: word.kind in kinds


def _text(*texts: str) -> Callable[[Word], bool]:
    return lambda word: word.text in texts


def _prefixed(letter: str) -> Callable[[Word], bool]:
    """Whether a string has that letter before its quotes."""
    return lambda word: (
        word.kind == "STRING"
        and letter in word.text[: len(word.text) - len(word.text.lstrip("rbfuRBFU"))].lower()
    )


def _quotes(document: Document) -> list[tuple[Span, Span]]:
    """The opening of each string, prefix and quotes, and its closing."""
    found = []
    for start, end in document.python.words.where(_kind("STRING")).tolist():
        text = document.python.text[start:end]
        prefix = len(text) - len(text.lstrip("rbfuRBFU"))
        size = 3 if text[prefix : prefix + 3] in ('"""', "'''") else 1
        found.append(((start, start + prefix + size), (end - size, end)))
    return found


def _opening(document: Document) -> Flags:
    return document.marked(first for first, _ in _quotes(document))


def _closing(document: Document) -> Flags:
    return document.marked(last for _, last in _quotes(document))


def _beginnings(document: Document) -> Flags:
    return document.marked(
        (first[1], first[1] + 12) for first, last in _quotes(document) if last[0] - first[1] > 12
    )


def _long_strings(document: Document) -> Flags:
    return document.marked(
        (first[0], last[1]) for first, last in _quotes(document) if first[1] - first[0] >= 3
    )


LEXICAL: tuple[Concept, ...] = (
    *(lexeme(f"keyword.{name}", f"`{name}`, the keyword", _text(name)) for name in keyword.kwlist),
    lexeme(
        "python.keyword",
        "a keyword",
        lambda word: keyword.iskeyword(word.text) and word.text not in CONSTANTS,
    ),
    lexeme("python.constant", "`True`, `False` or `None`", lambda word: word.text in CONSTANTS),
    lexeme(
        "python.name",
        "a name in code",
        lambda word: word.kind == "NAME" and not keyword.iskeyword(word.text),
    ),
    lexeme(
        "python.builtin",
        "a built-in function",
        lambda word: word.kind == "NAME" and word.text in FUNCTIONS,
    ),
    lexeme(
        "python.type", "a built-in type", lambda word: word.kind == "NAME" and word.text in TYPES
    ),
    lexeme(
        "python.exception",
        "a built-in exception",
        lambda word: word.kind == "NAME" and word.text in EXCEPTIONS,
    ),
    lexeme("python.self", "`self` in code", lambda word: word.text == "self"),
    lexeme("python.cls", "`cls` in code", lambda word: word.text == "cls"),
    lexeme("python.comment", "in a comment", _kind("COMMENT")),
    lexeme("python.string", "in a string", _is_string),
    lexeme("python.bytes", "in bytes", _prefixed("b")),
    lexeme("python.raw", "in a raw string", _prefixed("r")),
    Concept("python.triple", "in a triple-quoted string", _long_strings),
    Concept("python.string-opens", "where a string opens", _opening),
    Concept("python.string-closes", "where a string closes", _closing),
    Concept("python.string-begins", "at the beginning of a long string", _beginnings),
    lexeme("python.number", "a number in code", _kind("NUMBER")),
    lexeme(
        "python.float",
        "a number with a fraction in code",
        lambda w: w.kind == "NUMBER" and ("." in w.text or "e" in w.text),
    ),
    lexeme(
        "python.zero-one",
        "0 or 1 in code",
        lambda word: word.kind == "NUMBER" and word.text in ("0", "1"),
    ),
    lexeme(
        "python.operator",
        "an operator",
        lambda word: word.kind in OPERATORS or word.kind.endswith("EQUAL"),
    ),
    lexeme("python.assigns", "`=` in code", lambda word: word.kind in ASSIGNING),
    lexeme("python.compares", "a comparison sign", lambda word: word.kind in COMPARING),
    lexeme("python.counts", "an arithmetic sign in code", lambda word: word.kind in COUNTING),
    lexeme("python.bitwise", "a bitwise operator", lambda word: word.kind in BITWISE),
    lexeme(
        "python.augments",
        "an operator that assigns, such as `+=`",
        lambda w: (
            w.kind.endswith("EQUAL") and w.text[-1:] == "=" and w.kind not in COMPARING | ASSIGNING
        ),
    ),
    lexeme("python.dot", "a dot in code", _kind("DOT")),
    lexeme("python.comma", "a comma in code", _kind("COMMA")),
    lexeme("python.colon", "a colon in code", _kind("COLON")),
    lexeme("python.arrow", "`->`", _kind("RARROW")),
    lexeme("python.opens", "an opening bracket in code", _kind("LPAR", "LSQB", "LBRACE")),
    lexeme("python.closes", "a closing bracket in code", _kind("RPAR", "RSQB", "RBRACE")),
    lexeme("python.statement-ends", "the end of a statement", _kind("NEWLINE")),
    lexeme("python.line-goes-on", "a line end inside brackets or after a comment", _kind("NL")),
    lexeme("python.indents", "where a block begins", lambda word: word.kind == "INDENT"),
)
