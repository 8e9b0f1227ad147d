"""A Featurescope of its own for a benchmark: an embedded PostgreSQL with our tables in a folder
that is thrown away.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def database(var: Path) -> Iterator[None]:
    """Have Django set up with a migrated database in `var`, once a process; stop the server
    afterwards.
    """
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "explorer.settings",
        "FEATURESCOPE_VAR": str(var),
        "FEATURESCOPE_DEMO": "0",
    }
    os.environ.pop("DATABASE_URL", None)
    from explorer.local import database as local_database

    local_database.ensure(var)
    try:
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", verbosity=0)
        yield
        connections.close_all()
    finally:
        local_database.release(var)
