"""Whose requests the page's server answers.

A browser says in each request which name it asks (Host) and, in most, the site of the page that
asks (Origin). The server compares both with the names that it knows: so no page of another site
can use it, not even one whose name is made to point to this machine.
"""

import ipaddress
import re
import socket
from collections.abc import Set

from flask import Request

from page.networks import Refusal

LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}


def names_of_this_machine() -> set[str]:
    """Return the names by which a browser here, or in the same network, reaches this machine."""
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return LOOPBACK | {name, short, f"{short}.local"}


def name_of(address: str, scheme: str = "") -> str | None:
    """Return the name in "name:port", after a scheme if the address has to have one.

    The name is in lower case; it is None if the address has another form, such as "null".
    """
    match = re.fullmatch(rf"{scheme}([\w.-]+|\[[\da-f:.]+\])(:\d*)?", address.lower(), re.ASCII)
    return match[1] if match else None


def check_host(request: Request, own_names: Set[str], allowed: Set[str]) -> None:
    """Raise Refusal unless the request asks for one of these names.

    If the server listens at all addresses of this machine, any IP address will do: no other site
    can have an IP address as its name.
    """
    name = name_of(request.headers.get("Host", ""))
    if name is None:
        raise Refusal("nameless")
    is_address = re.fullmatch(r"[\d.]+|\[.*\]", name)
    listens_at_all = {"0.0.0.0", "[::]"} & own_names
    if name not in own_names | allowed and not (is_address and listens_at_all):
        raise Refusal("other-host", reason=name)


def check_origin(request: Request, allowed: Set[str]) -> None:
    """Raise Refusal if a page asks that is neither the server's own nor of an allowed name."""
    host = request.headers.get("Host", "").lower()
    own = [f"http://{host}", f"https://{host}"]
    origin = request.headers.get("Origin", own[0]).lower()
    site = name_of(origin, "https?://")
    if origin in own or site in allowed:
        return
    if site is None:
        raise Refusal("nameless")
    raise Refusal("other-site", reason=site)


def is_from_this_machine(request: Request) -> bool:
    """Return whether a request comes from this machine, and not through a forwarder.

    A forwarder often runs on this machine too. It adds a header, or its name is in Host or Origin.
    """
    headers = request.headers
    names = {name_of(headers.get("Host", ""))}
    if "Origin" in headers:
        names.add(name_of(headers["Origin"], "https?://"))
    is_forwarded = "X-Forwarded-For" in headers or "Forwarded" in headers
    address = ipaddress.ip_address(request.remote_addr or "0.0.0.0")
    return address.is_loopback and not is_forwarded and names <= LOOPBACK


def frame_ancestors(allowed: Set[str]) -> str:
    """Return the names whose pages may show the page in a frame, for its security policy."""
    sites = [f"http://{name}:* https://{name}:*" for name in sorted(allowed)]
    return " ".join(["'self'", *sites]) if sites else "'none'"
