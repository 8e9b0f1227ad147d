"""`manage.py create_api_key USERNAME`: an API key of that user, shown once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from explorer.models import ApiKey, User


class Command(BaseCommand):
    help = "Make an API key for a user and print it, once. Send it as `Authorization: Bearer KEY`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="Who the key acts as; staff may start jobs with it.")
        parser.add_argument(
            "--name", default="command line", help="What the key is for, at most 100 characters."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print only the key on standard output, so that a script can store it."""
        username, name = options["username"], options["name"].strip()
        if not 1 <= len(name) <= 100 or not name.isprintable():
            raise CommandError("--name must have 1 to 100 characters that can be printed.")
        user = User.objects.filter(username=username).first() if "\0" not in username else None
        if user is None:
            raise CommandError(
                f"There is no user “{username}”. Make one at /accounts/ or with manage.py "
                "createsuperuser."
            )
        if not user.is_active:
            raise CommandError(
                f"The user “{username}” is not active, so no key of theirs would work."
            )
        _row, key = ApiKey.create(user, name)
        self.stderr.write(f"A key for {username} ({name}). It is shown this once:")
        self.stdout.write(key)
