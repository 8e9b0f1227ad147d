"""Concepts of Python source by its syntax tree.

Each row says which nodes, and which part of each of them. The tree is that of the whole document.
That a name is called, for example, is only visible after it, so a causal model may have to guess
such a concept.
"""

import ast
from typing import Any

from workers.pipeline.concepts.concept import Concept, syntax_concept
from workers.pipeline.concepts.syntax_spans import (
    attribute_name,
    block,
    call_brackets,
    called_method,
    called_name,
    default_values,
    definition_name,
    docstring,
    fields,
    imported_module,
    imported_names,
    keyword_name,
    literal,
    nested_call_brackets,
    only_if,
    parameter_names,
    positional_argument,
    signature,
    whole,
)

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _is_method(node: Any) -> bool:
    return bool(node.scopes) and isinstance(node.scopes[-1], ast.ClassDef)


def _is_nested(node: Any) -> bool:
    return any(isinstance(scope, FUNCTIONS) for scope in node.scopes)


def _is_test(node: Any) -> bool:
    names = [
        base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        for base in getattr(node, "bases", [])
    ]
    return node.name.startswith(("test_", "Test")) or any(
        name.endswith("TestCase") for name in names
    )


def _is_self_attribute(node: Any) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "self"


def _is_main(node: Any) -> bool:
    return isinstance(node.test, ast.Compare) and getattr(node.test.left, "id", "") == "__name__"


def _is_formatting(node: Any) -> bool:
    return (
        isinstance(node.op, ast.Mod)
        and isinstance(node.left, ast.Constant)
        and isinstance(node.left.value, str)
    )


def _is_negation(node: Any) -> bool:
    return isinstance(node.op, ast.Not)


def _is_assertion(node: Any) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr.startswith("assert")


SYNTAX: tuple[Concept, ...] = (
    syntax_concept("python.docstring", "in a docstring", (*DEFINITIONS, ast.Module), docstring()),
    syntax_concept(
        "python.docstring-first",
        "in the first line of a docstring",
        (*DEFINITIONS, ast.Module),
        docstring(first_line=True),
    ),
    syntax_concept("python.docstring-module", "in a module's docstring", ast.Module, docstring()),
    syntax_concept(
        "python.docstring-function", "in a function's docstring", FUNCTIONS, docstring()
    ),
    syntax_concept("python.import", "in an import statement", (ast.Import, ast.ImportFrom), whole),
    syntax_concept(
        "python.imported", "a name that is imported", (ast.Import, ast.ImportFrom), imported_names
    ),
    syntax_concept("python.from", "the module of a `from` import", ast.ImportFrom, imported_module),
    syntax_concept("python.decorator", "in a decorator", DEFINITIONS, fields("decorator_list")),
    syntax_concept(
        "python.def-name", "the name of a function being defined", FUNCTIONS, definition_name
    ),
    syntax_concept(
        "python.class-name", "the name of a class being defined", ast.ClassDef, definition_name
    ),
    syntax_concept(
        "python.method-name",
        "the name of a method being defined",
        FUNCTIONS,
        only_if(_is_method, definition_name),
    ),
    syntax_concept(
        "python.test-name",
        "the name of a test being defined",
        DEFINITIONS,
        only_if(_is_test, definition_name),
    ),
    syntax_concept("python.bases", "in the bases of a class", ast.ClassDef, fields("bases")),
    syntax_concept("python.signature", "in the signature of a function", FUNCTIONS, signature),
    syntax_concept("python.parameter", "a parameter of a function", FUNCTIONS, parameter_names),
    syntax_concept("python.default", "in a default value", FUNCTIONS, default_values),
    syntax_concept(
        "python.annotation", "in an annotation", (ast.arg, ast.AnnAssign), fields("annotation")
    ),
    syntax_concept(
        "python.returns", "in the annotation of a return value", FUNCTIONS, fields("returns")
    ),
    syntax_concept("python.call", "in the brackets of a call", ast.Call, call_brackets),
    syntax_concept(
        "python.call-in-call",
        "in the brackets of a call inside a call",
        ast.Call,
        nested_call_brackets,
    ),
    syntax_concept("python.called", "a function that is called", ast.Call, called_name),
    syntax_concept("python.method", "a method that is called", ast.Call, called_method),
    syntax_concept(
        "python.first-argument", "in the first argument of a call", ast.Call, positional_argument(0)
    ),
    syntax_concept(
        "python.second-argument",
        "in the second argument of a call",
        ast.Call,
        positional_argument(1),
    ),
    syntax_concept(
        "python.keyword-name", "the name of a keyword argument", ast.keyword, keyword_name
    ),
    syntax_concept(
        "python.keyword-value", "in the value of a keyword argument", ast.keyword, fields("value")
    ),
    syntax_concept(
        "python.asserts", "in a call of an assert method", ast.Call, only_if(_is_assertion)
    ),
    syntax_concept("python.attribute", "an attribute after its dot", ast.Attribute, attribute_name),
    syntax_concept(
        "python.self-attribute",
        "an attribute of `self`",
        ast.Attribute,
        only_if(_is_self_attribute, attribute_name),
    ),
    syntax_concept("python.subscript", "in a subscript", ast.Subscript, fields("slice")),
    syntax_concept("python.slice", "in a slice", ast.Slice, whole),
    syntax_concept("python.list", "in a list", ast.List, whole),
    syntax_concept("python.tuple", "in a tuple", ast.Tuple, whole),
    syntax_concept("python.dict", "in a dict", ast.Dict, whole),
    syntax_concept("python.set", "in a set", ast.Set, whole),
    syntax_concept("python.dict-key", "in a key of a dict", ast.Dict, fields("keys")),
    syntax_concept("python.dict-value", "in a value of a dict", ast.Dict, fields("values")),
    syntax_concept("python.comprehension", "in a comprehension", COMPREHENSIONS, whole),
    syntax_concept("python.lambda", "in a lambda", ast.Lambda, whole),
    syntax_concept("python.conditional", "in a conditional expression", ast.IfExp, whole),
    syntax_concept(
        "python.condition",
        "in the condition of `if` or `while`",
        (ast.If, ast.While),
        fields("test"),
    ),
    syntax_concept("python.if-body", "in the block of an `if`", ast.If, block("body")),
    syntax_concept(
        "python.else", "in the block of an `else` or `elif`", (ast.If, *LOOPS), block("orelse")
    ),
    syntax_concept("python.loop", "in the block of a loop", LOOPS, block("body")),
    syntax_concept(
        "python.loop-variable",
        "the variable of a loop",
        (ast.For, ast.AsyncFor, ast.comprehension),
        fields("target"),
    ),
    syntax_concept(
        "python.iterated",
        "in the iterable of a loop",
        (ast.For, ast.AsyncFor, ast.comprehension),
        fields("iter"),
    ),
    syntax_concept(
        "python.with-item",
        "in the head of a `with`",
        ast.withitem,
        fields("context_expr", "optional_vars"),
    ),
    syntax_concept(
        "python.with", "in the block of a `with`", (ast.With, ast.AsyncWith), block("body")
    ),
    syntax_concept("python.try", "in the block of a `try`", ast.Try, block("body")),
    syntax_concept(
        "python.except-type", "in the types of an `except`", ast.ExceptHandler, fields("type")
    ),
    syntax_concept(
        "python.except", "in the block of an `except`", ast.ExceptHandler, block("body")
    ),
    syntax_concept("python.finally", "in the block of a `finally`", ast.Try, block("finalbody")),
    syntax_concept("python.raise", "in a `raise` statement", ast.Raise, whole),
    syntax_concept("python.raised", "in a raised value", ast.Raise, fields("exc")),
    syntax_concept("python.return", "in a `return` statement", ast.Return, whole),
    syntax_concept("python.returned", "in a returned value", ast.Return, fields("value")),
    syntax_concept("python.yield", "in a `yield`", (ast.Yield, ast.YieldFrom), whole),
    syntax_concept("python.await", "in an `await`", ast.Await, whole),
    syntax_concept("python.assert", "in an `assert` statement", ast.Assert, whole),
    syntax_concept("python.delete", "in a `del` statement", ast.Delete, whole),
    syntax_concept(
        "python.global", "in a `global` or `nonlocal` statement", (ast.Global, ast.Nonlocal), whole
    ),
    syntax_concept("python.target", "the target of an assignment", ast.Assign, fields("targets")),
    syntax_concept(
        "python.assigned", "in an assigned value", (ast.Assign, ast.AnnAssign), fields("value")
    ),
    syntax_concept("python.augmented", "in an augmented assignment", ast.AugAssign, whole),
    syntax_concept("python.compare", "in a comparison", ast.Compare, whole),
    syntax_concept(
        "python.compared-to",
        "in the right side of a comparison",
        ast.Compare,
        fields("comparators"),
    ),
    syntax_concept("python.boolean", "in an `and` or `or` expression", ast.BoolOp, whole),
    syntax_concept(
        "python.not",
        "in a negated expression",
        ast.UnaryOp,
        only_if(_is_negation, fields("operand")),
    ),
    syntax_concept("python.arithmetic", "in arithmetic", ast.BinOp, whole),
    syntax_concept("python.formatting", "in % formatting", ast.BinOp, only_if(_is_formatting)),
    syntax_concept("python.f-string", "in an f-string", ast.JoinedStr, whole),
    syntax_concept(
        "python.f-field", "in a field of an f-string", ast.FormattedValue, fields("value")
    ),
    syntax_concept("python.text", "in a text constant", ast.Constant, literal(str)),
    syntax_concept(
        "python.number-constant", "a number constant", ast.Constant, literal(int, float, complex)
    ),
    syntax_concept("python.starred", "in a starred expression", ast.Starred, whole),
    syntax_concept("python.class-body", "in the body of a class", ast.ClassDef, block("body")),
    syntax_concept("python.function-body", "in the body of a function", FUNCTIONS, block("body")),
    syntax_concept(
        "python.method-body",
        "in the body of a method",
        FUNCTIONS,
        only_if(_is_method, block("body")),
    ),
    syntax_concept(
        "python.nested", "in a function inside a function", FUNCTIONS, only_if(_is_nested)
    ),
    syntax_concept("python.async", "in an async function", ast.AsyncFunctionDef, whole),
    syntax_concept("python.test", "in test code", DEFINITIONS, only_if(_is_test)),
    syntax_concept("python.main", "in the `__main__` part of a script", ast.If, only_if(_is_main)),
    syntax_concept("python.code", "in valid Python", ast.Module, block("body")),
)
