"""A Discord webhook as an apprise channel."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from app.domain.errors import ConfigurationError

HOSTS = frozenset({"discord.com", "discordapp.com", "canary.discord.com", "ptb.discord.com"})
CONNECT_SECONDS = 4
READ_SECONDS = 6
LONGEST_MESSAGE = 1900  # Discord refuses more than 2000 characters
_PATH = re.compile(r"/api/(?:v\d+/)?webhooks/(\d{5,30})/([A-Za-z0-9_-]{10,200})/?", re.ASCII)
_MENTION = re.compile(r"@(?=everyone|here|[!&]?\d)|<(?=[@#])")


def channel_url(webhook_url: str) -> str:
    """The apprise address of a webhook address; ConfigurationError when it is not one of Discord's.

    avatar=no keeps an outside picture out, redirect=no follows nowhere, cto and rto bound connecting and reading.
    """
    parts = urlsplit(webhook_url.strip())
    found = _PATH.fullmatch(parts.path)
    if (
        parts.scheme != "https"
        or parts.hostname not in HOSTS
        or found is None
        or parts.username
        or parts.port not in (None, 443)
    ):
        raise ConfigurationError(
            "DISCORD_WEBHOOK_URL is not a Discord webhook address; it looks like https://discord.com/api/webhooks/<id>/<token>"
        )
    return f"discord://{found[1]}/{found[2]}/?avatar=no&redirect=no&cto={CONNECT_SECONDS}&rto={READ_SECONDS}"


def channel(webhook_url: str) -> Any:
    """A channel with `send(body=...) -> bool`."""
    from apprise import Apprise

    return Apprise.instantiate(channel_url(webhook_url), suppress_exceptions=False)


def plain(text: str) -> str:
    """`text` so that it mentions nobody and holds no control characters."""
    readable = "".join(c if c == "\n" or c.isprintable() else " " for c in text)
    return _MENTION.sub(lambda found: found[0] + "\u200b", readable)
