"""Querysets whose SQL is put together once, and whose plan each connection keeps.

For a page that reads a dozen tables Django takes longer over the SQL than PostgreSQL over the
answer, and PostgreSQL longer over the plan than over the rows; both are the same every time but for
a few values:

    @cache
    def _made_by() -> Compiled[Sae]:
        return
        Compiled(Sae.objects.filter(made_by=Param("job")).select_related("model").order_by("-id"))

    saes = _made_by()(job=12)
"""

from copy import copy
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.db import connections
from django.db.models import Expression, QuerySet
from django.db.models.sql.compiler import SQLCompiler
from psycopg import Cursor

Row = TypeVar("Row")


class Param(Expression):
    """A value that is given with every call, wherever a lookup takes an expression."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        """Itself among the parameters: a call puts the value in its place."""
        return "%s", [self]


class Compiled(Generic[Row]):
    """A queryset with `Param`s in it, as a function of their values that answers a list of rows.

    Values reach the database as they are: they must be of their column's type, and within its
    range. What the queryset prefetches is fetched as ever.
    """

    def __init__(self, rows: QuerySet[Any, Row]) -> None:
        self._rows = rows.all()
        self._compiler = rows.query.get_compiler(rows.db)
        sql, params = self._compiler.as_sql()
        self._sql, self._params = _fixed(sql, params, connections[rows.db])
        self._converters = self._compiler.get_converters(
            [column[0] for column in self._compiler.select]
        )

    def __call__(self, **values: Any) -> list[Row]:
        """The rows for these values. Raises `KeyError` where one is missing."""
        given = {name: values[name] for name in self._params}
        compiler = copy(self._compiler)
        compiler.connection = connections[self._rows.db]  # that of this thread
        compiler.execute_sql = lambda *_args, **_kwargs: [
            _prepared(compiler.connection, self._sql, given)
        ]
        compiler.get_converters = lambda _columns: self._converters
        rows = type(self._rows)(self._rows.model, _Ready(compiler))  # type: ignore[arg-type]
        for name in ("_iterable_class", "_fields", "_prefetch_related_lookups"):
            setattr(rows, name, getattr(self._rows, name))
        return list(rows)


class _Ready:
    """Stands for the query of a queryset that is only to be read: what compiles it has done so."""

    def __init__(self, compiler: SQLCompiler) -> None:
        self.compiler = compiler

    def get_compiler(self, *_args: Any, **_kwargs: Any) -> SQLCompiler:
        """The one that is there."""
        return self.compiler


def _fixed(sql: str, params: tuple[Any, ...], connection: Any) -> tuple[str, list[str]]:
    """The SQL with every constant in it, and the names of the `Param`s, which stand there by name.

    A plan that is kept knows no parameter's value: an index over a part of the rows would be out of
    its reach.
    """
    marks = {param.name: f"{{param {param.name}}}" for param in params if isinstance(param, Param)}
    given = [marks[param.name] if isinstance(param, Param) else param for param in params]
    text = connection.ops.compose_sql(sql, given).replace("%", "%%")
    for name, mark in marks.items():
        text = text.replace(f"'{mark}'", f"%({name})s")
    return text, list(marks)


def _prepared(connection: Any, sql: str, given: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Rows by psycopg's own cursor: Django's puts the values in itself, and PostgreSQL sees a new
    statement each time.

    PostgreSQL keeps the plan from the sixth time on. Elsewhere nothing is prepared: psycopg would
    keep every text of a hundred.
    """
    connection.ensure_connection()
    plain = connection.connection
    wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    plain.prepare_threshold = 0 if settings.PREPARE else None
    try:
        with wrap(Cursor(plain)) as cursor:
            cursor.execute(sql, given)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
    finally:
        plain.prepare_threshold = None
    return rows
