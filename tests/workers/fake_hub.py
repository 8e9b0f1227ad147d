"""A Hugging Face hub on loopback that serves real folders over HTTP, as far as huggingface_hub
asks.

    with FakeHub({"owner/name": folder}) as hub:
        hub.url                       # for HF_ENDPOINT
        hub.asked                     # (method, path, range) of every request

Weights are sent as the hub sends large files: a redirect to another address, which takes ranges.
`hub.gated`, `hub.breaks` (bytes after which a download drops, once per file) and `hub.pace`
(seconds per 64 KiB) make trouble.
"""

import hashlib
import json
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".npz", ".pt", ".bin", ".parquet")
PIECE = 1 << 16


class FakeHub:
    """Model repositories by name, each a folder at one commit (and under the tag `v1`); `datasets`
    likewise.
    """

    def __init__(self, models: dict[str, Path], datasets: dict[str, Path] | None = None) -> None:
        self.repositories = {"models": models, "datasets": datasets or {}}
        self.gated: dict[str, str] = {}
        self.breaks: dict[str, int] = {}
        self.pace = 0.0
        self.asked: list[tuple[str, str, str]] = []
        hub = self

        class Handler(_Handler):
            site = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.elsewhere = (
            f"http://localhost:{self.server.server_address[1]}"  # to a client, another host
        )

    def __enter__(self) -> Self:
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def commit(self, kind: str, name: str) -> str:
        """Forty hex digits that follow the folder's content."""
        digest = hashlib.sha1(name.encode())
        for path in files(self.repositories[kind][name]):
            digest.update(path.read_bytes())
        return digest.hexdigest()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: FakeHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.site.asked.append((self.command, path, self.headers.get("Range") or ""))
        if match := re.fullmatch(
            r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?",
            path,
        ):
            kind, name, what, revision, rest = match.groups()
            if self._there(kind, name, revision):
                self._tell(kind, name, what, rest or "", parse_qs(url.query))
        elif match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            kind = "datasets" if match[1] else "models"
            if self._there(kind, match[2], match[3]):
                self._send_file(kind, match[2], match[4])
        elif match := re.fullmatch(r"/cdn/(models|datasets)/([^/]+/[^/]+)/(.+)", path):
            self._stream(self.site.repositories[match[1]][match[2]] / match[3])
        else:
            self._refuse(404, "")

    def _there(self, kind: str, name: str, revision: str | None) -> bool:
        if name not in self.site.repositories[kind]:
            self._refuse(
                401, "RepoNotFound"
            )  # the hub does not say of a private one that it is there
        elif (
            name in self.site.gated
            and self.headers.get("Authorization") != f"Bearer {self.site.gated[name]}"
        ):
            self._refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo")
        elif revision not in (None, "main", "v1", self.site.commit(kind, name)):
            self._refuse(404, "RevisionNotFound")
        else:
            return True
        return False

    def _tell(
        self, kind: str, name: str, what: str | None, rest: str, query: dict[str, list[str]]
    ) -> None:
        folder = self.site.repositories[kind][name]
        entries = [_entry(folder, path) for path in files(folder)]
        if what == "paths-info":
            wanted = (
                json.loads(self.body)["paths"]
                if self.body[:1] == b"{"
                else parse_qs(self.body.decode())["paths"]
            )
            self._json([entry for entry in entries if entry["path"] in wanted])
        elif what == "tree":
            if rest and not (folder / rest).is_dir():
                return self._refuse(404, "EntryNotFound")
            found = [
                entry for entry in entries if not rest or str(entry["path"]).startswith(f"{rest}/")
            ]
            if query.get("recursive", ["false"])[0].lower() != "true":
                found = [
                    entry
                    for entry in found
                    if "/" not in str(entry["path"]).removeprefix(f"{rest}/" if rest else "")
                ]
            self._json(found)
        else:
            siblings = [{"rfilename": entry["path"]} for entry in entries]
            told = {
                "id": name,
                "sha": self.site.commit(kind, name),
                "private": False,
                "tags": [],
                "siblings": siblings,
            }
            self._json(
                {
                    **told,
                    "downloads": 0,
                    "likes": 0,
                    "gated": False,
                    "disabled": False,
                    "lastModified": "2026-01-01T00:00:00.000Z",
                }
            )

    def _send_file(self, kind: str, name: str, path: str) -> None:
        place = self.site.repositories[kind][name] / path
        about = {"X-Repo-Commit": self.site.commit(kind, name)}
        if not place.is_file():
            return self._refuse(404, "EntryNotFound", about)
        digest = hashlib.sha256(place.read_bytes()).hexdigest()
        if not path.endswith(LARGE):
            return self._stream(place, {**about, "ETag": f'"{digest[:40]}"'})
        linked = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(place.stat().st_size)}
        location = f"{self.site.elsewhere}/cdn/{kind}/{name}/{path}"
        self._answer(
            302, b"", {**about, **linked, "ETag": f'"{digest[:32]}"', "Location": location}
        )

    def _stream(self, place: Path, headers: dict[str, str] | None = None) -> None:
        data = place.read_bytes()
        start, status = 0, 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            start, status = int(match[1]), 206
        stop = self.site.breaks.pop(place.name, None) if self.command == "GET" else None
        self.send_response(status)
        about = {
            "Content-Length": str(len(data) - start),
            "Accept-Ranges": "bytes",
            **(headers or {}),
        }
        if status == 206:
            about["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        for header, value in about.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for begin in range(start, len(data), PIECE):
            if stop is not None and begin - start >= stop:
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            try:
                self.wfile.write(data[begin : begin + PIECE])
            except OSError:  # whoever asked went away
                self.close_connection = True
                return
            time.sleep(self.site.pace)

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        messages = {
            "GatedRepo": "Access to model is restricted.",
            "RepoNotFound": "Repository not found",
        }
        about = {"X-Error-Code": code, "X-Error-Message": messages.get(code, "Not found")}
        self._answer(
            status,
            json.dumps({"error": messages.get(code, "Not found")}).encode(),
            {**(headers or {}), **about},
        )

    def _json(self, data: object) -> None:
        self._answer(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for header, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: `asked` has it."""


def _entry(folder: Path, path: Path) -> dict[str, object]:
    name, data = path.relative_to(folder).as_posix(), path.read_bytes()
    entry: dict[str, object] = {
        "type": "file",
        "path": name,
        "size": len(data),
        "oid": hashlib.sha1(data).hexdigest(),
    }
    if name.endswith(LARGE):
        entry["lfs"] = {
            "oid": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            "pointerSize": 134,
        }
    return entry
