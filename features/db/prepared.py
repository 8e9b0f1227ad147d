"""SQL statements that PostgreSQL plans once for each connection.

For a page that reads a dozen tables PostgreSQL takes longer to plan a statement than to run it, and
the plan is the same for every value. Django's cursor puts the values into the text before it sends
it, so psycopg never prepares a statement for it. `fetch` therefore sends SQL's own PREPARE once for
each connection, and EXECUTE from then on, through Django's cursor: no private API of Django or
psycopg takes part, and query logs and `execute_wrapper` see each call as one query.

PostgreSQL plans the first five executions for their values; then it keeps one plan for all values
where that is as cheap.
"""

from itertools import count
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connection


class Statement(NamedTuple):
    """A SELECT with named parameters, written as `%(name)s`; a literal percent sign is `%%`.

    Constants belong into the text: a plan for all values knows no parameter's value, so that a
    partial index would be out of its reach.
    """

    name: str
    sql: str
    parameters: tuple[str, ...]

    def prepare(self, name: str) -> str:
        """The statement that prepares it under that name."""
        numbers = {parameter: f"${i}" for i, parameter in enumerate(self.parameters, start=1)}
        text = (self.sql % numbers).replace("%", "%%")  # as `cursor.execute` takes it
        return f"PREPARE {name} AS {text}"

    def execute(self, name: str) -> str:
        """The statement that runs it, with the same named parameters."""
        return f"EXECUTE {name}({', '.join(f'%({parameter})s' for parameter in self.parameters)})"


_names: "WeakKeyDictionary[Any, dict[Statement, str]]" = WeakKeyDictionary()
"""By connection of psycopg, the names of the statements prepared on it."""
_numbers = count(1)


def fetch(statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
    """The rows of a statement for these values, in one query.

    Raises `KeyError` where a value is missing. Nothing is prepared where `settings.PREPARE` is
    false, as a pooler between here and PostgreSQL may give the next query to another connection.
    """
    given = {parameter: values[parameter] for parameter in statement.parameters}
    with connection.cursor() as cursor:
        if settings.PREPARE:
            _execute_prepared(cursor, statement, given)
        else:
            cursor.execute(statement.sql, given)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _execute_prepared(cursor: Any, statement: Statement, given: dict[str, Any]) -> None:
    """Execute it, and where this connection has not prepared it yet, do so in the same message."""
    names = _names.setdefault(cursor.connection, {})
    if statement in names:
        cursor.execute(statement.execute(names[statement]), given)
        return
    # A name of its own for each attempt: where the execution fails, the preparation has been done
    # or not, and another attempt must not depend on which.
    name = f"{statement.name}_{next(_numbers)}"
    cursor.execute(f"{statement.prepare(name)}; {statement.execute(name)}", given)
    cursor.nextset()
    names[statement] = name
