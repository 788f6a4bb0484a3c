"""Proxies: none stands between processes of one site; any other address may be behind one.

A corporate proxy knows nothing of a server on this machine, yet libraries send it every request, also one to
`127.0.0.1`, unless `no_proxy` says otherwise. Pure functions over an environment, save for `own_names`, which asks this
machine for its addresses. Sends nothing. Standard library only.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

__all__ = ["bypass_proxies", "is_proxy_variable", "own_names", "proxy_for", "without_proxies"]

_NEAR = (
    "localhost",
    "127.0.0.1",
    "::1",
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
)
"""Loopback, private (RFC 1918) and link-local (RFC 3927) addresses. Not every library reads ranges; no IPv6 range is
here because httpx up to 0.28 fails to start on one."""

_NO_PROXY = ("no_proxy", "NO_PROXY")


def is_proxy_variable(name: str) -> bool:
    """Whether a variable of this name says which proxy to use: `https_proxy`, `ALL_PROXY` ...; not `no_proxy`."""
    return name.lower().endswith("_proxy") and name.lower() != "no_proxy"


def without_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without any variable that names a proxy or an exception to one."""
    return {
        name: value
        for name, value in environ.items()
        if not is_proxy_variable(name) and name.lower() != "no_proxy"
    }


def bypass_proxies(environ: Mapping[str, str], addresses: Sequence[str] = ()) -> dict[str, str]:
    """Return `no_proxy` and `NO_PROXY`, such that libraries reach this machine and its neighbours directly.

    Args:
        environ: an environment; what both variables hold in it comes first. `*` alone stays as it is.
        addresses: names and addresses, or URLs, that are to be reached directly as well.
    """
    held = [part.strip() for name in _NO_PROXY for part in environ.get(name, "").split(",") if part.strip()]
    more = [_host_of(address) for address in addresses]
    value = "*" if "*" in held else ",".join(dict.fromkeys([*held, *_NEAR, *filter(None, more)]))
    return dict.fromkeys(_NO_PROXY, value)


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the proxy through which `url` is reached, or None: directly.

    Never one for a loopback, private or link-local address, nor for a name without a dot, whatever `environ` says.
    Else as curl does it: `no_proxy` (names with all below them, addresses, ranges, `*`), then the variable of the
    scheme, then `all_proxy`; lower case before upper case.

    Args:
        url: with its scheme.
        environ: an environment.

    Raises:
        ValueError: `url` has no host, or a port that is no number.
    """
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if not parts.scheme or not host:
        raise ValueError(f"no URL with a scheme and a host: {url!r}")
    excepted = ",".join(environ.get(name, "") for name in _NO_PROXY)
    if _is_near(host) or _is_excepted(host, parts.port, excepted.split(",")):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        for spelt in (name, name.upper()):
            if environ.get(spelt):
                return environ[spelt]
    return None


def own_names(proc: Path = Path("/proc")) -> list[str]:
    """Return the name and the IPv4 addresses of this machine, as far as the kernel tells; asks no name server."""
    names = [socket.gethostname()]
    try:
        lines = (proc / "net" / "fib_trie").read_text(encoding="ascii").split("\n")
    except OSError:
        return names
    leaf = ""
    for line in lines:
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"]:
            names.append(leaf)
    return list(dict.fromkeys(names))


def _host_of(address: str) -> str:
    if "//" not in address:
        return address.strip()
    from urllib.parse import urlsplit

    return urlsplit(address).hostname or ""


def _is_near(host: str) -> bool:
    address = _address(host)
    if address is None:
        return "." not in host or host.endswith((".localhost", ".local"))
    inner = getattr(address, "ipv4_mapped", None) or address
    return bool(inner.is_loopback or inner.is_private or inner.is_link_local)


def _is_excepted(host: str, port: int | None, entries: Iterable[str]) -> bool:
    from ipaddress import ip_network

    address = _address(host)
    for entry in (one.strip().lower() for one in entries):
        if entry == "*":
            return True
        name, _, wanted_port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if not name or (wanted_port and wanted_port != str(port)):
            continue
        if address is None:
            bare = name.removeprefix("*").lstrip(".")
            if bare and (host == bare or host.endswith(f".{bare}")):
                return True
            continue
        try:
            if address in ip_network(name.strip("[]"), strict=False):
                return True
        except ValueError:
            continue
    return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    from ipaddress import ip_address

    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None
