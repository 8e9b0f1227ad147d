"""Model instances from the rows of a written SQL statement."""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model

from features.db.prepared import Statement, fetch

Row = TypeVar("Row", bound=Model)


def columns_of(model: type[Model]) -> list[Any]:
    """The fields of a model that are columns of its table, in the order of `Model.from_db`."""
    fields = model._meta.get_fields()
    return [field for field in fields if field.concrete and not field.many_to_many]


class Columns(Generic[Row]):
    """All columns of a model, for the SELECT list of a statement, and the way back to instances."""

    def __init__(self, model: type[Row], alias: str) -> None:
        self._model = model
        fields: list[Any] = columns_of(model)
        self._names = [field.attname for field in fields]
        self._key = self._names.index("id")
        self._converted = [i for i, field in enumerate(fields) if hasattr(field, "from_db_value")]
        self._fields = fields
        self.count = len(fields)
        self.sql = ", ".join(f'{alias}."{field.column}"' for field in fields)

    def instance(self, values: Sequence[Any]) -> Row | None:
        """The instance with these values; None where an outer join found no row."""
        if values[self._key] is None:
            return None
        row = list(values)
        for i in self._converted:
            row[i] = self._fields[i].from_db_value(row[i], None, connection)
        return self._model.from_db(DEFAULT_DB_ALIAS, self._names, row)


def _instances(values: Sequence[Any], parts: Sequence[Columns[Any]]) -> Iterator[Any]:
    """The instances that a row consists of, in the order of the parts."""
    start = 0
    for part in parts:
        yield part.instance(values[start : start + part.count])
        start += part.count


class Query(NamedTuple):
    """A statement whose rows begin with the columns of these models."""

    statement: Statement
    parts: tuple[Columns[Any], ...]

    def fetch(self, **values: Any) -> Iterator[tuple[Any, ...]]:
        """For each row the instances of `parts`, then the columns that follow."""
        width = sum(part.count for part in self.parts)
        for row in fetch(self.statement, **values):
            yield *_instances(row, self.parts), *row[width:]
