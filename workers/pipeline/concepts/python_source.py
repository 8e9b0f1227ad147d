"""A text parsed as Python: the tokens of `tokenize`, the nodes of `ast`, and their spans.

A text that does not parse as a whole is parsed up to where it stops being Python. Prose that
happens to parse (a word or two) is not Python: a text must define, import, assign or call
something.
"""

import ast
import io
import tokenize
import warnings
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from workers.pipeline.concepts.span_index import Span, SpanIndex

MAX_ATTEMPTS = 4
"""How often a text is cut before the line where it stops being Python."""

CODE = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Assign,
    ast.Call,
)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class PythonToken(NamedTuple):
    """A token of `tokenize`: its exact `kind` and its text."""

    kind: str
    text: str


class PythonSource:
    """Syntax nodes by class, and tokens; both empty if the text is no Python.

    Each node has an attribute `scopes`: the functions and classes that it is in, outermost first.
    """

    def __init__(self, text: str) -> None:
        # ast ends lines at \r too. The text keeps its length, so that offsets are correct.
        self.text = text.replace("\r\n", " \n").replace("\r", "\n")
        self.nodes: dict[type, list[ast.AST]] = defaultdict(list)
        self._lines = self.text.split("\n")
        self._starts = [0, *accumulate(len(line) + 1 for line in self._lines)]
        parsed = self._parse()
        if parsed:
            self._collect_nodes(parsed[0])
        self.tokens = SpanIndex(self._tokenize(parsed[1]) if parsed else ())

    def span(self, node: Any) -> Span:
        """Return the characters of a node."""
        if not hasattr(node, "span"):  # cached, because several concepts need it
            start = self.offset(node.lineno, node.col_offset)
            node.span = (start, self.offset(node.end_lineno, node.end_col_offset))
        span: Span = node.span
        return span

    def offset(self, line: int, column: int) -> int:
        """Return the character at a line (from 1) and a column in UTF-8 bytes, as in `ast`."""
        text = self._lines[line - 1]
        if not text.isascii():
            column = len(text.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "ignore"))
        return self._starts[line - 1] + column

    def _parse(self) -> tuple[ast.Module, str] | None:
        part = self.text
        for _ in range(MAX_ATTEMPTS):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # old escapes in strings
                    tree = ast.parse(part)
            except SyntaxError as error:
                part = self._text_before(part, error.lineno or 1)
            except (ValueError, RecursionError, MemoryError):  # null characters, deep nesting
                return None
            else:
                is_code = any(isinstance(node, CODE) for node in ast.walk(tree))
                return (tree, part) if is_code else None
        return None

    @staticmethod
    def _text_before(text: str, line: int) -> str:
        """Return the text before the top-level statement that contains a line."""
        lines = text.split("\n")
        last = min(line, len(lines)) - 1
        while last > 0 and (not lines[last] or lines[last][0].isspace() or lines[last][0] in ")]}"):
            last -= 1
        return "\n".join(lines[:last])

    def _collect_nodes(self, root: ast.AST) -> None:
        stack: list[tuple[Any, tuple[ast.AST, ...]]] = [(root, ())]
        while stack:
            node, scopes = stack.pop()
            node.scopes = scopes
            self.nodes[type(node)].append(node)
            inner = (*scopes, node) if isinstance(node, SCOPES) else scopes
            stack.extend((child, inner) for child in ast.iter_child_nodes(node))

    def _tokenize(self, part: str) -> Iterator[tuple[PythonToken, Span]]:
        try:
            for token in tokenize.generate_tokens(io.StringIO(part).readline):
                start = self._starts[token.start[0] - 1] + token.start[1]
                end = self._starts[min(token.end[0], len(self._starts)) - 1] + token.end[1]
                kind = tokenize.tok_name[token.exact_type]
                yield PythonToken(kind, token.string), (start, min(end, len(self.text)))
        except (tokenize.TokenError, IndentationError, SyntaxError):
            return
