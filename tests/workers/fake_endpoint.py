"""A stand-in for an OpenAI-compatible endpoint on loopback: it checks requests strictly, and
misbehaves when told to.

with stand_in(brain) as server:            # brain(messages) -> the text of the answer
    server.mishaps = ["429", "html"]       # what the next requests get instead, in order
    Endpoint(server.url, "stand-in-1", key=server.key)

    server.responds = lambda body: (400, {"error": …}, {"Retry-After": "3"})   # or None: as usual
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL, KEY = "stand-in-1", "sk-stand-in"
Response = tuple[int, Any, dict[str, str]]
Brain = Callable[[list[dict[str, str]]], str]


class StandIn(ThreadingHTTPServer):
    """The server, what it was asked, and what it does wrong next."""

    daemon_threads = True
    key = KEY

    def __init__(self, brain: Brain) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.brain, self.mishaps, self.requests = brain, list[str](), list[dict[str, Any]]()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.slow = 0.0
        self.responds: Callable[[dict[str, Any]], Response | None] = lambda body: None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        with self.server.lock:
            mishap = self.server.mishaps.pop(0) if self.server.mishaps else ""
        self._answer(mishap)

    def _answer(self, mishap: str) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if response := self.server.responds(body):
            self.server.requests.append(body)
            return self._say(*response)
        if wrong := _wrong(self.path, dict(self.headers), body):
            return self._say(400, {"error": {"message": wrong, "type": "invalid_request_error"}})
        if self.headers.get("authorization") != f"Bearer {KEY}":
            return self._say(401, {"error": {"message": "Incorrect API key provided."}})
        if body["model"] != MODEL:
            return self._say(
                404, {"error": {"message": f"The model {body['model']} does not exist."}}
            )
        match mishap:
            case "429":
                return self._say(
                    429, {"error": {"message": "Rate limit reached."}}, {"Retry-After": "0"}
                )
            case "500":
                return self._say(500, {"error": {"message": "The server had an error."}})
            case "html":
                return self._send(200, b"<!doctype html><title>Sign in</title>", "text/html")
            case "json":
                return self._say(200, {"choices": [{"text": "an older shape"}]})
            case "empty":
                return self._say(200, completion("", written=0))
            case "big":
                return self._say(200, completion("x" * (2 << 20)))
            case "late":
                time.sleep(3)
            case "drop":
                return self.connection.close()
        self._say(200, completion(self._think(body)))

    def _think(self, body: dict[str, Any]) -> str:
        """Over before the answer is sent: whoever has that may ask the next thing at once."""
        server = self.server
        with server.lock:
            server.requests.append(body)
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            time.sleep(server.slow)
            return server.brain(body["messages"])
        finally:
            with server.lock:
                server.at_once -= 1

    def _say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(body).encode(), "application/json", headers)

    def _send(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        try:
            self.send_response(status)
            for name, value in {
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                **(headers or {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # whoever asked has gone

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _wrong(path: str, headers: dict[str, str], body: Any) -> str:
    """What is wrong with a request, as strictly as the strictest of servers sees it; empty where
    nothing is.
    """
    if path != "/v1/chat/completions":
        return f"Unknown address {path}."
    if headers.get("Content-Type", headers.get("content-type")) != "application/json":
        return "The content type must be application/json."
    if set(body) != {"model", "messages", "temperature", "max_tokens"}:
        return f"Unknown or missing parameters: {sorted(body)}."
    if (
        not isinstance(body["max_tokens"], int)
        or body["max_tokens"] < 1
        or body["temperature"] != 0
    ):
        return "max_tokens must be a positive integer, temperature 0 here."
    roles = [message.get("role") for message in body["messages"]]
    if roles != ["system", "user"] or any(
        set(m) != {"role", "content"} or not m["content"] for m in body["messages"]
    ):
        return f"Messages must be one of the system and one of the user: {roles}."
    return ""


def completion(
    text: str | None, written: int = 10, finish: str = "stop", **usage: Any
) -> dict[str, Any]:
    """A response in OpenAI's shape."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 100, "completion_tokens": written, **usage}
    return {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage,
    }


@contextmanager
def stand_in(brain: Brain = lambda messages: "LABEL: something") -> Iterator[StandIn]:
    """A server that runs until the end of the block."""
    server = StandIn(brain)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
