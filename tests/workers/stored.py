"""Rows and files that took work to make, put back for each test of a file instead of made again.

    @pytest.fixture
    def ready(kept, settings):
        kept.again(settings.ARTIFACTS_URL, make)

A transaction per test would do, but jobs write from threads with connections of their own; so each
test begins with empty tables, and all of them are filled by COPY, as they were when `make` had been
called for the first test.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from django.db import connection, transaction


class Kept:
    """What `make` made, in `folder`; a test may use the folder for what the rows name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tables: dict[str, bytes] | None = None

    def again(self, artifacts: str, make: Callable[[], None]) -> None:
        """Have the rows, and the files below `artifacts`, as `make` makes them."""
        if self.tables is None:
            make()
            self.tables = {table: _read(table) for table in _tables()}
            shutil.copytree(artifacts, self.folder / "artifacts")
            return
        shutil.copytree(self.folder / "artifacts", artifacts, dirs_exist_ok=True)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL session_replication_role = replica"
            )  # no triggers: what they write is kept too
            for table, rows in self.tables.items():
                with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    copy.write(rows)
                _set_sequence(table)


def _tables() -> list[str]:
    return [
        name
        for name in connection.introspection.table_names()
        if name.startswith(("features_", "explorer_"))
    ]


def _read(table: str) -> bytes:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} TO STDOUT") as copy:
        return b"".join(bytes(piece) for piece in copy)


def _set_sequence(table: str) -> None:
    with connection.cursor() as cursor:
        names = {
            column.name for column in connection.introspection.get_table_description(cursor, table)
        }
        if "id" in names:
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table} "
                "HAVING max(id) IS NOT NULL"
            )
