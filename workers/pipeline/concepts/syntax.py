"""Concepts of Python text by its syntax tree.

Each row says which nodes, and what of each of them. The truth comes from the whole document: that a
name is called is only seen after it, so such a concept may be something that a causal model has to
guess.
"""

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

from workers.pipeline.concepts.concept import Concept
from workers.pipeline.concepts.concept import syntax as row
from workers.pipeline.concepts.grouped import Span
from workers.pipeline.concepts.python import Python

Spans = Callable[[Python, Any], Iterator[Span]]
DEF = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINED = (*DEF, ast.ClassDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
STATEMENTS = tuple(kind for kind in ast.stmt.__subclasses__() if not issubclass(kind, DEFINED))


def of(*path: str) -> Spans:
    """What stands in these fields of a node, each a node or a list of them."""

    def spans(python: Python, node: Any) -> Iterator[Span]:
        for field in path:
            found = getattr(node, field, None)
            for one in found if isinstance(found, list) else [found]:
                if one is not None and hasattr(one, "lineno"):
                    yield python.span(one)

    return spans


def whole(python: Python, node: Any) -> Iterator[Span]:
    """All of a node."""
    yield python.span(node)


def body(*fields: str) -> Spans:
    """From the first statement of a block to the end of its last."""

    def spans(python: Python, node: Any) -> Iterator[Span]:
        for field in fields:
            if block := getattr(node, field):
                yield python.span(block[0])[0], python.span(block[-1])[1]

    return spans


def named(python: Python, node: Any) -> Iterator[Span]:
    """The name that a `def` or `class` gives."""
    start = python.span(node)[0]
    if match := re.compile(r"(?:async\s+def|def|class)\s+(\w+)").match(python.text, start):
        yield match.span(1)


def ending(python: Python, node: Any) -> Iterator[Span]:
    """The name of an attribute, after its dot."""
    end = python.span(node)[1]
    yield end - len(node.attr), end


def called(python: Python, node: Any) -> Iterator[Span]:
    """The name of a function that is called directly."""
    if isinstance(node.func, ast.Name):
        yield python.span(node.func)


def method(python: Python, node: Any) -> Iterator[Span]:
    """The name of a method that is called."""
    if isinstance(node.func, ast.Attribute):
        yield from ending(python, node.func)


def arguments(python: Python, node: Any) -> Iterator[Span]:
    """From the bracket that opens a call to the one that closes it."""
    yield python.span(node.func)[1], python.span(node)[1]


def deep(python: Python, node: Any) -> Iterator[Span]:
    """The brackets of a call that is an argument of another."""
    for inner in [*node.args, *(keyword.value for keyword in node.keywords)]:
        if isinstance(inner, ast.Call):
            yield from arguments(python, inner)


def argument(number: int) -> Spans:
    """An argument of a call by its place."""

    def spans(python: Python, node: Any) -> Iterator[Span]:
        if len(node.args) > number:
            yield python.span(node.args[number])

    return spans


def keyword_name(python: Python, node: Any) -> Iterator[Span]:
    """The name of a keyword argument."""
    if node.arg:
        start = python.span(node)[0]
        yield start, start + len(node.arg)


def parameters(python: Python, node: Any) -> Iterator[Span]:
    """The names of a function's parameters."""
    every = node.args
    for one in [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]:
        if one is not None:
            start = python.span(one)[0]
            yield start, start + len(one.arg)


def signature(python: Python, node: Any) -> Iterator[Span]:
    """From after a function's name to where its body begins."""
    for _, end in named(python, node):
        yield end, python.span(node.body[0])[0]


def defaults(python: Python, node: Any) -> Iterator[Span]:
    """Default values of parameters."""
    for one in [*node.args.defaults, *node.args.kw_defaults]:
        if one is not None:
            yield python.span(one)


def docstring(first: bool = False) -> Spans:
    """The docstring of a module, class or function; of it the first line alone."""

    def spans(python: Python, node: Any) -> Iterator[Span]:
        value = node.body[0].value if node.body and isinstance(node.body[0], ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            start, end = python.span(value)
            line = python.text.find("\n", start, end)
            yield start, line if first and line >= 0 else end

    return spans


def literal(*kinds: type) -> Spans:
    """A constant of these types."""

    def spans(python: Python, node: Any) -> Iterator[Span]:
        if type(node.value) in kinds:
            yield python.span(node)

    return spans


def within(wanted: Callable[[Any], bool], of_node: Spans = whole) -> Spans:
    """`of_node` of those nodes that are wanted."""

    def spans(python: Python, node: Any) -> Iterator[Span]:
        if wanted(node):
            yield from of_node(python, node)

    return spans


def imported(python: Python, node: Any) -> Iterator[Span]:
    """The names that an import binds or takes."""
    for alias in node.names:
        yield python.span(alias)


def module_of(python: Python, node: Any) -> Iterator[Span]:
    """The module of `from … import`."""
    start = python.span(node)[0]
    if match := re.compile(r"from\s+([\w.]+)").match(python.text, start):
        yield match.span(1)


def _in_class(node: Any) -> bool:
    return bool(node.above) and isinstance(node.above[-1], ast.ClassDef)


def _nested(node: Any) -> bool:
    return any(isinstance(one, DEF) for one in node.above)


def _tests(node: Any) -> bool:
    names = [
        base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        for base in getattr(node, "bases", [])
    ]
    return node.name.startswith(("test_", "Test")) or any(
        name.endswith("TestCase") for name in names
    )


def _on_self(node: Any) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "self"


def _is_main(node: Any) -> bool:
    return isinstance(node.test, ast.Compare) and getattr(node.test.left, "id", "") == "__name__"


def _formats(node: Any) -> bool:
    return (
        isinstance(node.op, ast.Mod)
        and isinstance(node.left, ast.Constant)
        and isinstance(node.left.value, str)
    )


def _negates(node: Any) -> bool:
    return isinstance(node.op, ast.Not)


def _asserts(node: Any) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr.startswith("assert")


SYNTAX: tuple[Concept, ...] = (
    row("python.docstring", "in a docstring", (*DEFINED, ast.Module), docstring()),
    row(
        "python.docstring-first",
        "in the first line of a docstring",
        (*DEFINED, ast.Module),
        docstring(first=True),
    ),
    row("python.docstring-module", "in a module's docstring", ast.Module, docstring()),
    row("python.docstring-function", "in a function's docstring", DEF, docstring()),
    row("python.import", "in an import statement", (ast.Import, ast.ImportFrom), whole),
    row("python.imported", "a name that is imported", (ast.Import, ast.ImportFrom), imported),
    row("python.from", "the module of a `from` import", ast.ImportFrom, module_of),
    row("python.decorator", "in a decorator", DEFINED, of("decorator_list")),
    row("python.def-name", "the name of a function being defined", DEF, named),
    row("python.class-name", "the name of a class being defined", ast.ClassDef, named),
    row("python.method-name", "the name of a method being defined", DEF, within(_in_class, named)),
    row("python.test-name", "the name of a test being defined", DEFINED, within(_tests, named)),
    row("python.bases", "in the bases of a class", ast.ClassDef, of("bases")),
    row("python.signature", "in the signature of a function", DEF, signature),
    row("python.parameter", "a parameter of a function", DEF, parameters),
    row("python.default", "in a default value", DEF, defaults),
    row("python.annotation", "in an annotation", (ast.arg, ast.AnnAssign), of("annotation")),
    row("python.returns", "in the annotation of what is returned", DEF, of("returns")),
    row("python.call", "in the brackets of a call", ast.Call, arguments),
    row("python.call-in-call", "in the brackets of a call inside a call", ast.Call, deep),
    row("python.called", "a function that is called", ast.Call, called),
    row("python.method", "a method that is called", ast.Call, method),
    row("python.first-argument", "in the first argument of a call", ast.Call, argument(0)),
    row("python.second-argument", "in the second argument of a call", ast.Call, argument(1)),
    row("python.keyword-name", "the name of a keyword argument", ast.keyword, keyword_name),
    row("python.keyword-value", "in the value of a keyword argument", ast.keyword, of("value")),
    row("python.asserts", "in a call of an assert method", ast.Call, within(_asserts)),
    row("python.attribute", "an attribute after its dot", ast.Attribute, ending),
    row("python.self-attribute", "an attribute of `self`", ast.Attribute, within(_on_self, ending)),
    row("python.subscript", "in a subscript", ast.Subscript, of("slice")),
    row("python.slice", "in a slice", ast.Slice, whole),
    row("python.list", "in a list", ast.List, whole),
    row("python.tuple", "in a tuple", ast.Tuple, whole),
    row("python.dict", "in a dict", ast.Dict, whole),
    row("python.set", "in a set", ast.Set, whole),
    row("python.dict-key", "in a key of a dict", ast.Dict, of("keys")),
    row("python.dict-value", "in a value of a dict", ast.Dict, of("values")),
    row("python.comprehension", "in a comprehension", COMPREHENSIONS, whole),
    row("python.lambda", "in a lambda", ast.Lambda, whole),
    row("python.conditional", "in a conditional expression", ast.IfExp, whole),
    row("python.condition", "in the condition of `if` or `while`", (ast.If, ast.While), of("test")),
    row("python.if-body", "in the block of an `if`", ast.If, body("body")),
    row("python.else", "in the block of an `else` or `elif`", (ast.If, *LOOPS), body("orelse")),
    row("python.loop", "in the block of a loop", LOOPS, body("body")),
    row(
        "python.loop-variable",
        "the variable of a loop",
        (ast.For, ast.AsyncFor, ast.comprehension),
        of("target"),
    ),
    row(
        "python.iterated",
        "in what a loop goes through",
        (ast.For, ast.AsyncFor, ast.comprehension),
        of("iter"),
    ),
    row(
        "python.with-item",
        "in the head of a `with`",
        ast.withitem,
        of("context_expr", "optional_vars"),
    ),
    row("python.with", "in the block of a `with`", (ast.With, ast.AsyncWith), body("body")),
    row("python.try", "in the block of a `try`", ast.Try, body("body")),
    row("python.except-type", "in what an `except` catches", ast.ExceptHandler, of("type")),
    row("python.except", "in the block of an `except`", ast.ExceptHandler, body("body")),
    row("python.finally", "in the block of a `finally`", ast.Try, body("finalbody")),
    row("python.raise", "in a `raise` statement", ast.Raise, whole),
    row("python.raised", "in what is raised", ast.Raise, of("exc")),
    row("python.return", "in a `return` statement", ast.Return, whole),
    row("python.returned", "in what is returned", ast.Return, of("value")),
    row("python.yield", "in a `yield`", (ast.Yield, ast.YieldFrom), whole),
    row("python.await", "in an `await`", ast.Await, whole),
    row("python.assert", "in an `assert` statement", ast.Assert, whole),
    row("python.delete", "in a `del` statement", ast.Delete, whole),
    row(
        "python.global", "in a `global` or `nonlocal` statement", (ast.Global, ast.Nonlocal), whole
    ),
    row("python.target", "the target of an assignment", ast.Assign, of("targets")),
    row("python.assigned", "in what is assigned", (ast.Assign, ast.AnnAssign), of("value")),
    row("python.augmented", "in an augmented assignment", ast.AugAssign, whole),
    row("python.compare", "in a comparison", ast.Compare, whole),
    row("python.compared-to", "in the right side of a comparison", ast.Compare, of("comparators")),
    row("python.boolean", "in an `and` or `or` expression", ast.BoolOp, whole),
    row("python.not", "in what is negated", ast.UnaryOp, within(_negates, of("operand"))),
    row("python.arithmetic", "in arithmetic", ast.BinOp, whole),
    row("python.formatting", "in % formatting", ast.BinOp, within(_formats)),
    row("python.f-string", "in an f-string", ast.JoinedStr, whole),
    row("python.f-field", "in a field of an f-string", ast.FormattedValue, of("value")),
    row("python.text", "in a text constant", ast.Constant, literal(str)),
    row("python.number-constant", "a number constant", ast.Constant, literal(int, float, complex)),
    row("python.starred", "in a starred expression", ast.Starred, whole),
    row("python.class-body", "in the body of a class", ast.ClassDef, body("body")),
    row("python.function-body", "in the body of a function", DEF, body("body")),
    row("python.method-body", "in the body of a method", DEF, within(_in_class, body("body"))),
    row("python.nested", "in a function inside a function", DEF, within(_nested)),
    row("python.async", "in an async function", ast.AsyncFunctionDef, whole),
    row("python.test", "in test code", DEFINED, within(_tests)),
    row("python.main", "in the `__main__` part of a script", ast.If, within(_is_main)),
    row("python.code", "in code that parses", ast.Module, body("body")),
)
