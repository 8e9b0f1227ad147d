"""System checks of the configuration: each names the problem and its remedy."""

import os
import re
from typing import Any
from urllib.parse import urlsplit

import fsspec
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@register()
def var_is_writable(**_: Any) -> list[CheckMessage]:
    if os.access(settings.VAR, os.W_OK | os.X_OK):
        return []
    return [
        Error(
            f"Cannot write to {settings.VAR}.",
            hint="Set FEATURESCOPE_VAR to a writable folder.",
            id="explorer.E001",
        )
    ]


@register()
def artifacts_url_is_supported(**_: Any) -> list[CheckMessage]:
    """The installed packages of fsspec can open the URL."""
    scheme = urlsplit(settings.ARTIFACTS_URL).scheme or "file"
    try:
        fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as error:
        hint = "Use a folder, or install the fsspec package of that scheme (s3fs, gcsfs, …)."
        return [Error(f"FEATURESCOPE_ARTIFACTS: {error}", hint=hint, id="explorer.E002")]
    return []


@register()
def device_name_is_valid(**_: Any) -> list[CheckMessage]:
    """The device has a name that torch accepts; the worker checks whether it exists."""
    if re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", settings.DEVICE):
        return []
    hint = "Use auto, cpu, cuda, cuda:1 or mps."
    return [
        Error(
            f"FEATURESCOPE_DEVICE: “{settings.DEVICE}” is no device.", hint=hint, id="explorer.E003"
        )
    ]


@register()
def public_host_is_allowed(**_: Any) -> list[CheckMessage]:
    """A server on a public address needs its host name, else every request is a 400."""
    if settings.HOST in _LOOPBACK or not set(settings.ALLOWED_HOSTS) <= {*_LOOPBACK, "[::1]"}:
        return []
    hint = "Set ALLOWED_HOSTS to the names under which people reach this machine."
    return [
        Warning(
            f"Listening on {settings.HOST}, but only local names are allowed.",
            hint=hint,
            id="explorer.W001",
        )
    ]
