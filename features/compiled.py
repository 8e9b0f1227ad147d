"""Querysets whose SQL is put together once.

For a page that reads a dozen tables Django takes longer over the SQL than PostgreSQL over the answer, and it is the same every
time but for a few values:

    @cache
    def _made_by() -> Compiled[Sae]:
        return Compiled(Sae.objects.filter(made_by=Param("job")).select_related("model").order_by("-id"))

    saes = _made_by()(job=12)
"""

from copy import copy
from typing import Any, Generic, TypeVar

from django.db import connections
from django.db.models import Expression, QuerySet
from django.db.models.sql.compiler import SQLCompiler

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

    Values reach the database as they are: they must be of their column's type, and within its range. What the queryset
    prefetches is fetched as ever.
    """

    def __init__(self, rows: QuerySet[Any, Row]) -> None:
        self._rows = rows.all()
        self._compiler = rows.query.get_compiler(rows.db)
        self._sql, self._params = self._compiler.as_sql()

    def __call__(self, **values: Any) -> list[Row]:
        """The rows for these values. Raises `KeyError` where one is missing."""
        compiler = copy(self._compiler)
        compiler.connection = connections[self._rows.db]  # that of this thread
        given = tuple(values[param.name] if isinstance(param, Param) else param for param in self._params)
        compiler.as_sql = lambda *_args, **_kwargs: (self._sql, given)
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
