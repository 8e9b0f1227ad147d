"""The web server's application: `uvicorn explorer.asgi:application`.

What is tuned for speed here and in `explorer.http.handler`, and what each part leans on:

1. A request runs in one thread from the first middleware to the last (`Handler`). It leans on how
   Django's ASGIHandler calls `load_middleware` and `get_response_async`, which are not documented;
   tests/explorer/http/test_handler.py counts the hand-overs, and fails where Django changes either.
2. The process keeps up to 60 connections (`FEATURESCOPE_CONNECTIONS`, Django's `pool` option). Each
   request has a thread of its own and would open its own connection, which takes as long as a page.
   A typed text holds one while a worker computes, so there are more than pages alone need.
3. The garbage collector passes over what was imported (`freeze_imports`). It leans on CPython's
   `gc` alone; tests/explorer/http/test_asgi.py checks it.
4. uvicorn runs without the lifespan protocol, which Django does not implement (`--lifespan off`),
   and without a log line and a Server header for each request: see
   explorer/management/children.py and Dockerfile.

`make bench PARTS=browse` measures the feature page under load.
"""

import gc
import os

import django

from explorer.http.handler import Handler


def freeze_imports() -> None:
    """Keep what exists now out of garbage collection, and collect less often: a page makes some
    thousand objects, and going through all modules again each time took a tenth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
os.environ.setdefault("FEATURESCOPE_CONNECTIONS", "60")
django.setup(set_prefix=False)
application = Handler()
freeze_imports()
