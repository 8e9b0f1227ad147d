#!/usr/bin/env python
"""Featurescope's command line; `manage.py up` starts everything on this machine."""

import os
import sys

WITHOUT_DATABASE = {
    "check",
    "collectstatic",
    "compilemessages",
    "diffsettings",
    "findstatic",
    "help",
    "makemessages",
    "spectacular",
    "startapp",
    "up",
    "version",
    "--version",
}


def main(arguments: list[str]) -> None:
    """Run one command; where it needs the embedded database, the database is up for as long as the
    command runs.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from explorer.local import database as local_database

    command = arguments[1] if len(arguments) > 1 else "help"
    asks = {"-h", "--help"} & set(arguments)
    try:
        if settings.DATABASE_IS_EMBEDDED and command not in WITHOUT_DATABASE and not asks:
            local_database.ensure(settings.VAR)
        execute_from_command_line(arguments)
    except (ImproperlyConfigured, local_database.DatabaseFailed) as error:
        sys.exit(f"featurescope: {error}")


if __name__ == "__main__":
    main(sys.argv)
