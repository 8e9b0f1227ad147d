"""`manage.py up`: every process of this machine, until Ctrl-C."""

import secrets
import signal
import time
from contextlib import ExitStack
from typing import Any

import psutil
from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError, OperationalError, connections

from explorer.local import broker, preflight
from explorer.local import database as local_database
from explorer.local.supervisor import HEALTHY_AFTER, Supervisor
from explorer.management.children import children, site_url, website_answers
from explorer.models import User
from features.selectors import workers as worker_selectors

READY_SECONDS = 180
"""Long enough for a busy machine; a website that cannot start ends much sooner, which is noticed at
once.
"""
WATCH_SECONDS = 3.0
MUTE_LOOKS = 10
"""Checks in a row without a sign of life after which a worker is killed: after a night asleep, or
without the database, every worker fails some.
"""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A shell starts background processes with the first one ignored."""


class Command(BaseCommand):
    help = "Start everything on this machine: database, website and workers. Ctrl-C stops it all."
    requires_system_checks = ()  # migrate runs them, once the database is there

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.mute: dict[int, int] = {}

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until a signal comes. Errors are one sentence, with exit code 1."""
        for sign in SIGNALS:
            signal.signal(sign, _interrupt)
        try:
            with ExitStack() as stack:
                self._run(stack)
        except KeyboardInterrupt:
            self._say("\nStopped.")
        except (preflight.NotReady, local_database.DatabaseFailed) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.strerror}: {error.filename}") from error

    def _run(self, stack: ExitStack) -> None:
        preflight.var_is_writable(settings.VAR)
        preflight.disk_has_room(settings.VAR)
        stack.enter_context(preflight.only_one(settings.VAR))
        preflight.port_is_free(settings.HOST, settings.PORT)
        if settings.DATABASE_IS_EMBEDDED:
            if not local_database.data_folder(settings.VAR).exists():
                self._say(f"First start: making a database in {settings.VAR} …")
            local_database.ensure(settings.VAR)
            stack.callback(self._stop_database)
        self._migrate()
        self._introduce(*create_first_admin())  # before a visitor can sign up under that name
        connections.close_all()
        supervisor = Supervisor(children(), self._say)
        stack.callback(supervisor.stop)
        supervisor.start()
        self._await_website(supervisor)
        self._greet()
        watched = time.monotonic()
        while True:
            time.sleep(0.2)
            supervisor.restart_dead()
            if time.monotonic() - watched > WATCH_SECONDS:
                self._watch(supervisor)
                watched = time.monotonic()

    def _watch(self, supervisor: Supervisor) -> None:
        """Restart the database if its keeper was killed too, and kill workers that run without a
        sign of life.
        """
        try:
            if settings.DATABASE_IS_EMBEDDED and local_database.revive(settings.VAR):
                self._say("The database was killed; it runs again.")
            silent = {
                view.worker.pid
                for view in worker_selectors.workers()
                if view.mute and view.worker.here
            }
        except (local_database.DatabaseFailed, DatabaseError) as error:
            self.mute.clear()
            self._say(f"The database is not responding: {str(error).strip()}")
            return
        finally:
            connections.close_all()
        self.mute = {pid: self.mute.get(pid, 0) + 1 for pid in silent}
        for child in supervisor.children:
            if not (child.process and child.alive() and child.lived() > HEALTHY_AFTER):
                continue
            if self.mute.get(child.process.pid, 0) >= MUTE_LOOKS:
                self._say(f"{child.name} does not speak any more; ending it.")
                child.signal(signal.SIGKILL)

    def _migrate(self) -> None:
        """Migrate the database and empty the broker; on the first run, queue the demo."""
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except OperationalError as error:
            raise CommandError(f"Cannot use the database: {str(error).strip()}") from error
        if not settings.CELERY_BROKER_URL:
            broker.clear(settings.VAR / "broker")
        if settings.DEMO:
            from features.services.demo import start_demo

            start_demo()

    def _await_website(self, supervisor: Supervisor) -> None:
        """Wait until the website answers. A child that dies in the meantime is not restarted: it
        would die again.
        """
        end = time.monotonic() + READY_SECONDS
        while not website_answers():
            dead = next((child for child in supervisor.children if not child.alive()), None)
            if dead:
                raise CommandError(
                    f"{dead.name} did not start. The end of {dead.log}:\n{dead.last_lines(15)}"
                )
            if time.monotonic() > end:
                raise CommandError(
                    f"The website did not answer within {READY_SECONDS} s. Look at "
                    f"{settings.VAR}/logs."
                )
            time.sleep(0.05)

    def _introduce(self, name: str, password: str) -> None:
        if password:
            self._say(
                f"Made an admin: sign in as {name} with the password {password} (shown only this "
                "once)."
            )
        elif name:
            self._say(
                f"Made an admin: sign in as {name} with the password from "
                "DJANGO_SUPERUSER_PASSWORD."
            )

    def _greet(self) -> None:
        seconds = time.time() - psutil.Process().create_time()
        self._say(
            f"Featurescope is at {site_url()} (ready in {seconds:.1f} s).\n"
            f"Data and logs are in {settings.VAR}. Ctrl-C stops everything."
        )

    def _stop_database(self) -> None:
        connections.close_all()
        if not local_database.release(settings.VAR):
            self._say("The database stays up for another command that uses it.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def create_first_admin() -> tuple[str, str]:
    """Create an admin if there is none. Returns the name, empty if there was one, and the password
    if it was generated. Raises `NotReady`.
    """
    if User.objects.filter(is_superuser=True).exists():
        return "", ""
    if User.objects.filter(username=settings.SUPERUSER_NAME).exists():
        raise preflight.NotReady(
            f"There is no admin yet, and the account “{settings.SUPERUSER_NAME}” is none: "
            "set DJANGO_SUPERUSER_USERNAME to another name."
        )
    generated = "" if settings.SUPERUSER_PASSWORD else secrets.token_urlsafe(12)
    User.objects.create_superuser(
        settings.SUPERUSER_NAME, password=settings.SUPERUSER_PASSWORD or generated
    )
    return settings.SUPERUSER_NAME, generated


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
