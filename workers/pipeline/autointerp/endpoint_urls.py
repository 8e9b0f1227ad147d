"""Which addresses an endpoint may have: where an instance forbids private ones, a URL must not lead
into its own network.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from features.records import InvalidInput
from workers.pipeline.errors import Unavailable


def resolve(url: str, private_allowed: bool) -> str | None:
    """The address to connect to where private ones are forbidden; None where the URL may be used as
    it stands.

    Every address that the name has must be public, and the one that was checked is the one that is
    used: a name that points elsewhere a moment later leads nowhere. `InvalidInput("endpoint")`
    where one is private, `Unavailable` without any.
    """
    if private_allowed:
        return None
    host = urlsplit(url).hostname or ""
    try:
        found = [entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise Unavailable(
            "endpoint", f"The name of the endpoint's host cannot be resolved: {error}."
        ) from None
    for address in found:
        if not ipaddress.ip_address(str(address).partition("%")[0]).is_global:
            raise InvalidInput(
                "endpoint",
                "The endpoint has a private address, and this instance allows public endpoints "
                "only.",
            )
    return str(found[0])
