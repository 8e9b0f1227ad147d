"""A text as Python: the tokens of `tokenize`, the nodes of `ast`, and where each of them stands in
the text.

A text that does not parse as a whole is read up to where it stops being Python. Prose that happens
to parse (a word or two) is not taken for Python: something must be defined, imported, assigned or
called.
"""

import ast
import io
import tokenize
import warnings
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from workers.pipeline.concepts.grouped import Grouped, Span

TRIES = 4
"""So often a text is cut before the line where it stops being Python."""

CODE = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Assign,
    ast.Call,
)


class Word(NamedTuple):
    """A token of `tokenize`: its exact `kind` and its text."""

    kind: str
    text: str


class Python:
    """`nodes` by their class, and the `words`; both empty where the text is no Python."""

    def __init__(self, text: str) -> None:
        # of the same length, so that places stand: ast ends lines at \r too
        self.text = text.replace("\r\n", " \n").replace("\r", "\n")
        self.nodes: dict[type, list[ast.AST]] = defaultdict(list)
        self._lines = self.text.split("\n")
        self._starts = [0, *accumulate(len(line) + 1 for line in self._lines)]
        parsed = self._parse()
        if parsed:
            self._place(parsed[0], ())
        self.words = Grouped(self._tokenize(parsed[1]) if parsed else ())

    def span(self, node: ast.AST) -> Span:
        """The characters of a node."""
        if not hasattr(node, "span"):  # asked for by several concepts
            node.span = (
                self.place(node.lineno, node.col_offset),
                self.place(node.end_lineno, node.end_col_offset),
            )  # type: ignore[attr-defined]
        return node.span  # type: ignore[attr-defined]

    def place(self, line: int, column: int) -> int:
        """The character at a line (from 1) and a column in UTF-8 bytes, as `ast` gives them."""
        text = self._lines[line - 1]
        if not text.isascii():
            column = len(text.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "ignore"))
        return self._starts[line - 1] + column

    def _parse(self) -> tuple[ast.Module, str] | None:
        part = self.text
        for _ in range(TRIES):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # old escapes in strings
                    tree = ast.parse(part)
            except SyntaxError as error:
                part = self._before(part, error.lineno or 1)
            except (
                ValueError,
                RecursionError,
                MemoryError,
            ):  # null characters; thousands of brackets
                return None
            else:
                return (
                    (tree, part) if any(isinstance(node, CODE) for node in ast.walk(tree)) else None
                )
        return None

    @staticmethod
    def _before(text: str, line: int) -> str:
        """The text up to the statement of the module that holds that line."""
        lines = text.split("\n")
        last = min(line, len(lines)) - 1
        while last > 0 and (not lines[last] or lines[last][0].isspace() or lines[last][0] in ")]}"):
            last -= 1
        return "\n".join(lines[:last])

    def _place(self, node: ast.AST, above: tuple[ast.AST, ...]) -> None:
        stack: list[tuple[ast.AST, tuple[ast.AST, ...]]] = [(node, above)]
        while stack:
            node, above = stack.pop()
            node.above = above  # type: ignore[attr-defined]
            self.nodes[type(node)].append(node)
            inner = (*above, node) if isinstance(node, SCOPES) else above
            stack.extend((child, inner) for child in ast.iter_child_nodes(node))

    def _tokenize(self, part: str) -> Iterator[tuple[Word, Span]]:
        try:
            for token in tokenize.generate_tokens(io.StringIO(part).readline):
                start = self._starts[token.start[0] - 1] + token.start[1]
                end = self._starts[min(token.end[0], len(self._starts)) - 1] + token.end[1]
                yield (
                    Word(tokenize.tok_name[token.exact_type], token.string),
                    (start, min(end, len(self.text))),
                )
        except (tokenize.TokenError, IndentationError, SyntaxError):
            return


SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
