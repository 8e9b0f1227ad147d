"""The web server with one more address, `/_watching`, that tells what is inside: run by uvicorn in
`test_job_events`.
"""

import asyncio
import json

from explorer.asgi import application as site
from features.queue import notifications


async def application(scope, receive, send):
    if scope.get("path") != "/_watching":
        await site(scope, receive, send)
        return
    inside = {
        "watchers": sum(len(waiting) for waiting in notifications._waiters.values()),
        "jobs": len(notifications._waiters),
        "tasks": len(asyncio.all_tasks()),
    }
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json")],
        }
    )
    await send({"type": "http.response.body", "body": json.dumps(inside).encode()})
