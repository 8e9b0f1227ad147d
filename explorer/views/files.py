"""The files of an SAE, for members to download."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_safe

from explorer.access import members_only
from explorer.http.requests import HtmxRequest, NotHere
from explorer.views.catalog import find_sae
from features import artifact_store

HASHED = ("cfg.json", "sae_weights.safetensors", "activation_scaler.json")
"""What an SAE's SHA-256 is of, end to end: see `workers.pipeline.sae.io.content_hash`."""


@require_safe
@members_only
def index(request: HtmxRequest, model: str, sae: str) -> HttpResponse:
    """The files, with instructions to load them."""
    owner = find_sae(model, sae)
    files = _files(owner.artifact)
    there = {file.name for file in files}
    hashed = [name for name in HASHED if name in there]
    return render(request, "catalog/files.html", {"sae": owner, "files": files, "hashed": hashed})


@require_GET
@members_only
def download(request: HtmxRequest, model: str, sae: str, name: str) -> StreamingHttpResponse:
    """One file, streamed from the artifact store."""
    owner = find_sae(model, sae)
    sizes = {file.name: file.size for file in _files(owner.artifact)}
    if name not in sizes:
        raise NotHere(f"{owner} has no file “{name}”. It has {', '.join(sizes)}.")
    headers = {
        "Content-Length": str(sizes[name]),
        "Content-Disposition": f'attachment; filename="{name.rpartition("/")[2]}"',
        "X-Content-Type-Options": "nosniff",
    }
    pieces = artifact_store.stream_file(owner.artifact, name)
    return StreamingHttpResponse(
        _async_pieces(pieces), content_type="application/octet-stream", headers=headers
    )


def _files(artifact: str) -> list[artifact_store.File]:
    try:
        return artifact_store.files(artifact)
    except artifact_store.Missing as missing:
        raise NotHere(str(missing)) from None


async def _async_pieces(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """An async iterator: Django reads a synchronous one to its end before it sends anything."""
    following = sync_to_async(lambda: next(pieces, None), thread_sensitive=False)
    while (piece := await following()) is not None:
        yield piece
