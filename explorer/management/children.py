"""The child processes of `manage.py up`: their commands, and the URL of the website."""

import sys
import urllib.error
import urllib.request

from django.conf import settings

from explorer import celery
from explorer.local.supervisor import Child

NICE = 10
"""Of the worker of jobs: threads that wait for one another 150 times a token nearly stand still
next to a job of the same priority.
"""


def children() -> list[Child]:
    """The website and a worker for each queue."""
    listen = ["--host", settings.HOST, "--port", str(settings.PORT)]
    quiet = ["--lifespan", "off", "--no-access-log", "--no-server-header"]
    stop = ["--timeout-graceful-shutdown", "2"]
    web = ["uvicorn", "explorer.asgi:application", *listen, *quiet, *stop]
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
    # By name: explorer does not import workers.
    app = ["celery", "--app", "explorer", "worker", "--queues", queue, "--include", "workers.tasks"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [*app, "--hostname", f"{queue}@%h", "--pool", "solo", "--loglevel", "INFO", *quiet]


def site_url(path: str = "/") -> str:
    """The URL of the website on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.HOST, settings.HOST)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"  # IPv6
    return f"http://{host}:{settings.PORT}{path}"


def website_answers() -> bool:
    """Whether the health check succeeds, asked by a name of ALLOWED_HOSTS."""
    name = next((host for host in settings.ALLOWED_HOSTS if host.strip(".*")), "localhost").lstrip(
        "."
    )
    request = urllib.request.Request(site_url("/healthz"), headers={"Host": name})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
