"""Spans of parts of Python syntax nodes, for concepts.

Each function yields spans of one node, or returns a function that does.
"""

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

from workers.pipeline.concepts.python_source import PythonSource
from workers.pipeline.concepts.span_index import Span

NodeSpans = Callable[[PythonSource, Any], Iterator[Span]]

DEFINITION = re.compile(r"(?:async\s+def|def|class)\s+(\w+)")
FROM_IMPORT = re.compile(r"from\s+([\w.]+)")


def whole(python: PythonSource, node: Any) -> Iterator[Span]:
    """The whole node."""
    yield python.span(node)


def fields(*names: str) -> NodeSpans:
    """The nodes in these fields, each of which holds a node or a list of nodes."""

    def field_spans(python: PythonSource, node: Any) -> Iterator[Span]:
        for name in names:
            value = getattr(node, name, None)
            for child in value if isinstance(value, list) else [value]:
                if child is not None and hasattr(child, "lineno"):
                    yield python.span(child)

    return field_spans


def block(name: str) -> NodeSpans:
    """The statements in a field, from the first to the end of the last."""

    def block_spans(python: PythonSource, node: Any) -> Iterator[Span]:
        if statements := getattr(node, name):
            yield python.span(statements[0])[0], python.span(statements[-1])[1]

    return block_spans


def only_if(predicate: Callable[[Any], bool], spans: NodeSpans = whole) -> NodeSpans:
    """The `spans` of nodes for which `predicate` is true."""

    def filtered_spans(python: PythonSource, node: Any) -> Iterator[Span]:
        if predicate(node):
            yield from spans(python, node)

    return filtered_spans


def literal(*types: type) -> NodeSpans:
    """A constant of one of these types."""
    return only_if(lambda node: type(node.value) in types)


def definition_name(python: PythonSource, node: Any) -> Iterator[Span]:
    """The name after `def` or `class`."""
    if match := DEFINITION.match(python.text, python.span(node)[0]):
        yield match.span(1)


def attribute_name(python: PythonSource, node: Any) -> Iterator[Span]:
    """The name of an attribute, after its dot."""
    end = python.span(node)[1]
    yield end - len(node.attr), end


def called_name(python: PythonSource, node: Any) -> Iterator[Span]:
    """The name of a function that is called."""
    if isinstance(node.func, ast.Name):
        yield python.span(node.func)


def called_method(python: PythonSource, node: Any) -> Iterator[Span]:
    """The name of a method that is called."""
    if isinstance(node.func, ast.Attribute):
        yield from attribute_name(python, node.func)


def call_brackets(python: PythonSource, node: Any) -> Iterator[Span]:
    """From the opening to the closing bracket of a call."""
    yield python.span(node.func)[1], python.span(node)[1]


def nested_call_brackets(python: PythonSource, node: Any) -> Iterator[Span]:
    """The brackets of a call that is an argument of another."""
    for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
        if isinstance(argument, ast.Call):
            yield from call_brackets(python, argument)


def positional_argument(number: int) -> NodeSpans:
    """A positional argument of a call, counted from 0."""

    def argument_spans(python: PythonSource, node: Any) -> Iterator[Span]:
        if len(node.args) > number:
            yield python.span(node.args[number])

    return argument_spans


def keyword_name(python: PythonSource, node: Any) -> Iterator[Span]:
    """The name of a keyword argument."""
    if node.arg:
        start = python.span(node)[0]
        yield start, start + len(node.arg)


def parameter_names(python: PythonSource, node: Any) -> Iterator[Span]:
    """The names of a function's parameters."""
    args = node.args
    for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
        if arg is not None:
            start = python.span(arg)[0]
            yield start, start + len(arg.arg)


def signature(python: PythonSource, node: Any) -> Iterator[Span]:
    """From the end of a function's name to the start of its body."""
    for _, end in definition_name(python, node):
        yield end, python.span(node.body[0])[0]


def default_values(python: PythonSource, node: Any) -> Iterator[Span]:
    """The default values of a function's parameters."""
    for value in [*node.args.defaults, *node.args.kw_defaults]:
        if value is not None:
            yield python.span(value)


def docstring(first_line: bool = False) -> NodeSpans:
    """The docstring of a module, class or function, or only its first line."""

    def docstring_spans(python: PythonSource, node: Any) -> Iterator[Span]:
        value = node.body[0].value if node.body and isinstance(node.body[0], ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            start, end = python.span(value)
            line_end = python.text.find("\n", start, end)
            yield start, line_end if first_line and line_end >= 0 else end

    return docstring_spans


def imported_names(python: PythonSource, node: Any) -> Iterator[Span]:
    """The names that an import takes or binds."""
    for alias in node.names:
        yield python.span(alias)


def imported_module(python: PythonSource, node: Any) -> Iterator[Span]:
    """The module of `from … import`."""
    if match := FROM_IMPORT.match(python.text, python.span(node)[0]):
        yield match.span(1)
