"""`manage.py up`: every process of this machine, until Ctrl-C."""

import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import Any

import psutil
from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import DatabaseError, OperationalError, connections

from explorer import celery
from explorer.local import broker, preflight
from explorer.local import database as local_database
from explorer.local.supervisor import HEALTHY_AFTER, Child, Supervisor
from explorer.models import User
from features.selectors import workers as worker_selectors

READY_SECONDS = 180
"""Long, for a machine that is busy; a website that cannot start ends much sooner, and that is seen
at once.
"""
WATCH_SECONDS = 3.0
MUTE_LOOKS = 10
"""A worker is ended when so many looks in a row found it mute: after a night asleep, or without the
database, all seem so.
"""
NICE = 10
"""Of the jobs' worker: threads that wait for one another 150 times a token nearly stand still
beside a job of the same rank.
"""
SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
)  # a shell starts what is in its background deaf to the first


class Command(BaseCommand):
    """Start the database, the website and both workers; stop them all at Ctrl-C."""

    help = "Start everything on this machine: database, website and workers. Ctrl-C stops it all."
    requires_system_checks = ()  # migrate runs them, once the database is there

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.mute: dict[int, int] = {}

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop. One sentence and exit code 1 where something is in the way."""
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
        self._fill()
        self._introduce(*first_admin())  # before anybody can sign up under that name
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
        """Start the database again where its keeper was killed too, and end workers that live but
        do not speak.
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
            self._say(f"The database does not answer: {str(error).strip()}")
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

    def _fill(self) -> None:
        """Bring the tables up to date; on the first run, queue the demo."""
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
        """Wait until the website answers. What died meanwhile is not started again: it would die
        again.
        """
        end = time.monotonic() + READY_SECONDS
        while not _website_answers():
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


def children() -> list[Child]:
    """The website and a worker for each queue."""
    web = [
        "uvicorn",
        "explorer.asgi:application",
        "--host",
        settings.HOST,
        "--port",
        str(settings.PORT),
    ]
    web += [
        "--lifespan",
        "off",
        "--no-access-log",
        "--no-server-header",
        "--timeout-graceful-shutdown",
        "2",
    ]
    logs = settings.VAR / "logs"
    logs.mkdir(exist_ok=True)
    inference, jobs = (f"worker-{queue}" for queue in (celery.INFERENCE, celery.JOBS))
    commands = {"web": web, inference: _worker(celery.INFERENCE), jobs: _worker(celery.JOBS)}
    return [
        Child(
            name,
            [sys.executable, "-m", *parts],
            settings.BASE_DIR,
            logs,
            nice=NICE if name == jobs else 0,
        )
        for name, parts in commands.items()
    ]


def _worker(queue: str) -> list[str]:
    # By name: this ring does not import that of the workers.
    app = ["celery", "--app", "explorer", "worker", "--queues", queue, "--include", "workers.tasks"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [*app, "--hostname", f"{queue}@%h", "--pool", "solo", "--loglevel", "INFO", *quiet]


def first_admin() -> tuple[str, str]:
    """Make an admin where there is none: their name, and their password where it was made up here.
    Raises `NotReady`.
    """
    if User.objects.filter(is_superuser=True).exists():
        return "", ""
    if User.objects.filter(username=settings.SUPERUSER_NAME).exists():
        raise preflight.NotReady(
            f"There is no admin yet, and the account “{settings.SUPERUSER_NAME}” is none: "
            "set DJANGO_SUPERUSER_USERNAME to another name."
        )
    made_up = "" if settings.SUPERUSER_PASSWORD else secrets.token_urlsafe(12)
    User.objects.create_superuser(
        settings.SUPERUSER_NAME, password=settings.SUPERUSER_PASSWORD or made_up
    )
    return settings.SUPERUSER_NAME, made_up


def site_url(path: str = "/") -> str:
    """Where a browser on this machine finds the website."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.HOST, settings.HOST)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"  # IPv6
    return f"http://{host}:{settings.PORT}{path}"


def _website_answers() -> bool:
    # Asks by a name that ALLOWED_HOSTS has, whatever the address is.
    name = next((host for host in settings.ALLOWED_HOSTS if host.strip(".*")), "localhost").lstrip(
        "."
    )
    request = urllib.request.Request(site_url("/healthz"), headers={"Host": name})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
