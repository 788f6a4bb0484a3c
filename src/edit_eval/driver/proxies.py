"""Proxies: none stands before loopback or private addresses, whatever the environment says of the rest."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

__all__ = ["bypass_proxies"]


def bypass_proxies(environ: Mapping[str, str], addresses: Sequence[str] = ()) -> dict[str, str]:
    """Return `NO_PROXY` and `no_proxy` such that no proxy stands before loopback, nor before private addresses.

    Args:
        environ: gives what they hold now.
        addresses: those of them that are private (10.*, 192.168.* ...) are named too.
    """
    hosts = ["localhost", "127.0.0.1", "::1", *filter(None, map(_private_host, addresses))]
    given = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    have = [one.strip() for one in given.split(",") if one.strip()]
    value = ",".join(dict.fromkeys([*have, *hosts])) if "*" not in have else "*"
    return {"NO_PROXY": value, "no_proxy": value}


def _private_host(address: str) -> str | None:
    host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    try:
        return host if ipaddress.ip_address(host).is_private else None
    except ValueError:
        return None
