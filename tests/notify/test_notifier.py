"""Messages reach the webhook once it takes them, hold nothing back when it does not, and carry no secrets."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.config import Settings
from app.domain.errors import ConfigurationError
from app.notify import discord, notifier
from app.notify.notifier import Notifier

WEBHOOK_TOKEN = "Abc-def_" * 8
WEBHOOK = f"https://discord.com/api/webhooks/123456789012345678/{WEBHOOK_TOKEN}"


@dataclass
class Row:
    id: int
    message: str
    kind: str = "fill"


@dataclass
class FakeOutbox:
    """Rows stay until sent, as in the database."""

    rows: list[Row]
    sent: list[int] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def outbox_pending(self, limit: int) -> list[Row]:
        return [row for row in self.rows if row.id not in self.sent][:limit]

    def outbox_sent(self, message_id: int) -> None:
        self.sent.append(message_id)

    def outbox_failed(self, message_id: int, error: str) -> None:
        self.failed.append((message_id, error))


class HandClock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 5, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **({"discord_webhook_url": WEBHOOK} | changes))


def outbox(*messages: str) -> FakeOutbox:
    return FakeOutbox([Row(number, text) for number, text in enumerate(messages)])


def test_waiting_messages_go_in_one_post(webhook: Any) -> None:
    box = outbox("bought 10 AAPL at 190.25", "halted: daily loss")
    assert Notifier(settings()).deliver(box) == 2
    assert box.sent == [0, 1]
    (post,) = webhook.posts
    assert post["content"].splitlines() == ["[simulated] bought 10 AAPL at 190.25", "[simulated] halted: daily loss"]
    assert "avatar_url" not in post
    assert webhook.paths[0].endswith(f"/123456789012345678/{WEBHOOK_TOKEN}")


def test_long_messages_are_split_over_posts_within_the_limit(webhook: Any) -> None:
    box = outbox(*(f"{number} " + "x" * 700 for number in range(7)), "y" * 5000)
    assert Notifier(settings()).deliver(box) == 8
    assert all(len(post["content"]) <= 2000 for post in webhook.posts)
    assert [line[:13] for post in webhook.posts for line in post["content"].splitlines()][:7] == [
        f"[simulated] {number}" for number in range(7)
    ]


@pytest.mark.row("J01")
@pytest.mark.parametrize("behaviour", ["400", "404", "500", "503", "redirect"])
def test_a_failing_webhook_is_left_alone_for_longer_and_longer(webhook: Any, behaviour: str) -> None:
    clock = HandClock()
    box = outbox("one")
    deliverer = Notifier(settings(), clock)
    webhook.behaviour = behaviour
    for expected_pause in (5, 10, 20):
        before = len(webhook.paths)
        assert deliverer.deliver(box) == 0
        assert len(webhook.paths) == before + 1
        assert deliverer.deliver(box) == 0
        assert len(webhook.paths) == before + 1, "nothing is posted while it is left alone"
        clock.at += timedelta(seconds=expected_pause)
    assert [message_id for message_id, _ in box.failed] == [0, 0, 0]
    webhook.behaviour = "ok"
    assert deliverer.deliver(box) == 1
    assert box.sent == [0]


def test_nobody_listens() -> None:
    from apprise.plugins.discord import NotifyDiscord

    original = NotifyDiscord.notify_url
    NotifyDiscord.notify_url = "http://127.0.0.1:9/api/webhooks"
    try:
        box = outbox("one")
        assert Notifier(settings()).deliver(box) == 0
        assert box.failed
    finally:
        NotifyDiscord.notify_url = original


@pytest.mark.row("J01")
def test_a_webhook_that_drips_is_abandoned_in_time(webhook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "SEND_SECONDS", 0.3)
    webhook.behaviour = "drip"
    clock = HandClock()
    box = outbox("one")
    deliverer = Notifier(settings(), clock)
    started = time.monotonic()
    assert deliverer.deliver(box) == 0
    assert time.monotonic() - started < 1.5
    clock.at += timedelta(hours=1)
    assert deliverer.deliver(box) == 0, "not a second post while the first still hangs"
    assert len(webhook.paths) == 1
    assert len(box.failed) == 1


@pytest.mark.row("J04")
def test_secrets_and_mentions_do_not_leave(webhook: Any) -> None:
    chosen = settings(secret_key="very-secret-signing-key-0123456789abcdef", alpaca_api_secret="alpaca-secret-value-1")
    box = outbox(
        f"post to {WEBHOOK} failed with key very-secret-signing-key-0123456789abcdef and alpaca-secret-value-1",
        "@everyone <@123> @here \x1b[31m",
    )
    Notifier(chosen).deliver(box)
    text = webhook.posts[0]["content"]
    for secret in (WEBHOOK_TOKEN, "very-secret-signing-key", "alpaca-secret-value-1", "@everyone", "@here", "<@", "\x1b"):
        assert secret not in text


def test_without_a_webhook_the_outbox_empties_into_the_log() -> None:
    box = outbox("one", "two")
    assert Notifier(settings(discord_webhook_url=None)).deliver(box) == 2
    assert box.sent == [0, 1]


@pytest.mark.parametrize(
    "url",
    [
        "http://discord.com/api/webhooks/123456/abcdefghijkl",
        "https://127.0.0.1/api/webhooks/123456/abcdefghijkl",
        "https://169.254.169.254/api/webhooks/123456/abcdefghijkl",
        "https://discord.com.example.org/api/webhooks/123456/abcdefghijkl",
        "https://discord.com@127.0.0.1/api/webhooks/123456/abcdefghijkl",
        "https://discord.com:444/api/webhooks/123456/abcdefghijkl",
        "https://discord.com/api/webhooks/abc/abcdefghijkl",
        "https://discord.com/api/webhooks/123456/../../x?y=1",
        "https://discord.com/api/webhooks/123456/abcdefghijkl/slack",
        "file:///etc/passwd",
        "discord://1/2",
        "words",
        "",
    ],
)
def test_only_discord_webhooks_are_taken(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DISCORD_WEBHOOK_URL"):
        discord.channel_url(url)
