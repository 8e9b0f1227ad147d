"""How fast the list of features and the feature page answer on a generated database of a million
features.

    python -m tests.benchmarks.bench_browse        # BENCH_MILLION=FOLDER measures on one that
    tests.benchmarks.million keeps

A page of the list is timed as its selector (every query and its snippets, no HTML) for each order
and each of some filters, among them the worst for a database: filter and order that pull to
opposite ends, and filters that leave nothing. Each is asked once after all were asked untimed, so
that PostgreSQL has read what it keeps. The feature page is asked of a web server of its own, whole,
fifty times a second by the clock whatever it takes.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
from itertools import product
from typing import Any

FILTERS: list[dict[str, Any]] = [
    {},
    {"alive": True},
    {"alive": False},
    {"alive": True, "density_min": 1e-3},
    {"alive": True, "density_min": 1e-5, "density_max": 2e-5},
    {"alive": True, "density_min": 0.05},
    {"alive": True, "max_activation_min": 30},
    {"alive": True, "max_activation_max": 0.1},
    {"alive": True, "cluster": 0},
    {"alive": True, "cluster": 199},
    {"alive": True, "has_label": False},
    {"alive": True, "has_label": True},
    {"alive": True, "density_min": 0.01, "max_activation_min": 10},
    {"alive": True, "density_min": 0.05, "max_activation_min": 12},
    {"cluster": 150, "density_min": 1e-3, "max_activation_max": 5},
]
ASKED, SECONDS, WARM, CORES = 50, 10, 200, 2


def main() -> None:
    """Measure and print."""
    from tests.benchmarks import million

    with million.database():
        for slug in ("narrow-3", "wide"):
            _list(slug)
        asyncio.run(_feature_page())


def _list(slug: str) -> None:
    from django.db import connection

    from features.models import Sae
    from features.selectors import feature_lists
    from features.selectors.feature_columns import ORDERS
    from tests.benchmarks.bench_tokens import Clock

    sae = Sae.objects.select_related("model").get(slug=slug)
    asked, queries, whole = list(product(FILTERS, ORDERS)), [], []
    for filters, order in asked:
        feature_lists.page(sae, order=order, **filters)
    for filters, order in asked:
        clock, start = Clock(), time.perf_counter()
        with connection.execute_wrapper(clock):
            feature_lists.page(sae, order=order, **filters)
        whole.append((time.perf_counter() - start, f"{filters} by {order}"))
        queries.append(clock.spent)
    worst = max(whole)
    told = f"queries {_told(queries)}, whole {_told([seconds for seconds, _ in whole])}"
    print(
        f"a page of {slug}, {sae.width:,} features, {len(whole)} filters and orders: {told}; "
        f"worst: {worst[1]}"
    )


async def _feature_page() -> None:
    """Ask at fixed times, so that a slow answer does not spare the server the next question."""
    from tests.e2e.instance import free_port

    port = free_port()
    command = [
        "-m",
        "uvicorn",
        "explorer.asgi:application",
        "--port",
        str(port),
        "--log-level",
        "error",
        "--workers",
        str(CORES),
    ]
    web = subprocess.Popen([sys.executable, *command], env=os.environ | {"PYTHONPATH": "."})
    try:
        await _ready(port)
        dice = random.Random(0)
        paths = [
            f"/tiny/narrow-{dice.randrange(19)}/{dice.randrange(20_000)}/"
            for _ in range(WARM + ASKED * SECONDS)
        ]
        for path in paths[:WARM]:
            await _timed(port, path, 0)
        start = time.perf_counter()
        taken = await asyncio.gather(
            *(_timed(port, path, start + i / ASKED) for i, path in enumerate(paths[WARM:]))
        )
        print(f"feature page, {ASKED} requests a second on {CORES} processes: {_told(taken)}")
    finally:
        web.terminate()
        web.wait()


async def _timed(port: int, path: str, at: float) -> float:
    """Seconds of one request, by a client that takes next to nothing of the cores that the server
    has.
    """
    await asyncio.sleep(max(at - time.perf_counter(), 0))
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read(-1)
    taken = time.perf_counter() - start
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:100]
    assert answer.rstrip().endswith(b"</html>"), "an answer is whole"
    return taken


async def _ready(port: int) -> None:
    """Wait until the server answers."""
    for _ in range(100):
        try:
            await _timed(port, "/about/", 0)
        except OSError:
            await asyncio.sleep(0.2)
        else:
            return


def _told(seconds: list[float]) -> str:
    ranked = sorted(seconds)
    p50, p95 = ranked[len(ranked) // 2], ranked[len(ranked) * 95 // 100]
    return f"{1000 * p50:.1f} ms p50 {1000 * p95:.1f} p95 {1000 * ranked[-1]:.1f} most"


if __name__ == "__main__":
    main()
