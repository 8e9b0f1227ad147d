"""Check the IP address of an endpoint. On an instance that forbids private addresses, a URL must
not lead into the instance's own network.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from features.records import InvalidInput
from workers.pipeline.errors import Unavailable


def checked_address(url: str, private_allowed: bool) -> str | None:
    """Return the IP address to connect to, or None if private addresses are allowed.

    Every address of the host must be public. The connection must use the returned address, so that
    a host name that resolves to another address a moment later has no effect. Raises
    `InvalidInput("endpoint")` if an address is private, and `Unavailable` if there is none.
    """
    if private_allowed:
        return None
    host = urlsplit(url).hostname or ""
    try:
        addresses = [
            entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        ]
    except OSError as error:
        raise Unavailable(
            "endpoint", f"The name of the endpoint's host cannot be resolved: {error}."
        ) from None
    for address in addresses:
        if not ipaddress.ip_address(str(address).partition("%")[0]).is_global:
            raise InvalidInput(
                "endpoint",
                "The endpoint has a private address, and this instance allows public endpoints "
                "only.",
            )
    return str(addresses[0])
