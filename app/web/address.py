"""From where a request comes."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from flask import request

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LONGEST_CHAIN = 20


def caller_address(trusted: str) -> str:
    """The caller's address. trusted: proxies whose X-Forwarded-For is believed; of that header the last address that is none
    of them, as everything before it may have been made up."""
    found = request.remote_addr or ""
    chain = request.headers.get("X-Forwarded-For", "")[:1000].split(",")[-_LONGEST_CHAIN:]
    while chain and _is_one_of(found, _networks(trusted)):
        before = chain.pop().strip()
        if not _is_address(before):
            break
        found = before
    return found


@lru_cache(maxsize=8)
def _networks(trusted: str) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(one) for one in trusted.replace(",", " ").split())


def _is_one_of(address: str, networks: tuple[_Network, ...]) -> bool:
    return _is_address(address) and any(ipaddress.ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
