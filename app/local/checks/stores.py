"""Database and queue."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from celery import Celery
from redis import Redis
from redis.exceptions import RedisError

from app.celery_config import QUEUES, TASKS
from app.config import Settings
from app.domain.ports import Clock
from app.local.checks.finding import Finding, fail, ok, warn
from app.services.database_service import DatabaseService
from app.storage.database import Database
from app.storage.migrations import head, revision

_AUDIT_EVENTS = 2_000
_LONG_QUEUE = 100
_LOOPBACK = {"127.0.0.1", "localhost", "::1", None}


def schema(chosen: Settings) -> Iterator[Finding]:
    """Whether the database answers, is whole, and has the schema of this version."""
    database = Database(chosen.database_url)
    try:
        present = database.read(revision)
        if database.is_sqlite:
            said = database.read(lambda c: c.exec_driver_sql("PRAGMA quick_check(3)").scalars().all())
            if said != ["ok"]:
                yield fail("database", f"damaged: {'; '.join(said)[:200]}", "stop everything and restore the newest backup")
    finally:
        database.close()
    if present is None:
        yield warn("database", "it is empty", "start with `make up`, or restore a backup")
    elif present != head():
        yield fail("database", f"schema {present}, this version needs {head()}", "restart: processes migrate when they start")
    else:
        yield ok("database", f"answers, schema {present}")


def audit(database: DatabaseService) -> Iterator[Finding]:
    """Whether the newest part of the audit log is whole."""
    count, _, fault = database.check_audit(newest=_AUDIT_EVENTS)
    if fault is not None:
        yield fail("audit log", f"broken: {fault}", "halt, keep the file; `trader audit verify` tells where")
    else:
        yield ok("audit log", f"the newest {count} events hold together")


def outbox(database: DatabaseService, clock: Clock, *, has_channel: bool) -> Iterator[Finding]:
    """Whether people are told what they have to know."""
    waiting = database.outbox_pending(1_000)
    oldest = max((clock.now() - one.created_at for one in waiting), default=timedelta(0))
    if not has_channel:
        yield warn("alerts", "there is no channel; nobody is told anything", "set DISCORD_WEBHOOK_URL")
    if waiting and oldest > timedelta(minutes=10):
        said = f"{len(waiting)} undelivered, the oldest {oldest.total_seconds() / 60:.0f} minutes old"
        yield warn("alerts", said, "is the worker of the upkeep queue running, and does the channel's address work?")
    elif has_channel:
        yield ok("alerts", f"{len(waiting)} waiting")


def redis(chosen: Settings) -> Iterator[Finding]:
    """Whether the queue answers, keeps what it is given, and is not open to everybody."""
    url = chosen.celery_broker_url
    host = urllib.parse.urlsplit(url).hostname
    with Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
        try:
            facts: Mapping[str, Any] = client.info()
            lengths = {name: int(client.llen(name)) for name in QUEUES}
        except (RedisError, OSError) as fault:
            yield fail("queue", f"Redis does not answer: {fault}", "start it (`make up` brings its own) or mend REDIS_URL")
            return
        yield ok("queue", f"Redis {facts['redis_version']} answers")
        if facts.get("maxmemory_policy", "noeviction") != "noeviction":
            yield fail("queue", f"maxmemory-policy is {facts['maxmemory_policy']}: messages may vanish", "set it to noeviction")
        if host not in _LOOPBACK and not urllib.parse.urlsplit(url).password:
            yield fail("queue", f"{host} is reached without a password", "set requirepass, and the password in REDIS_URL")
    long = {name: length for name, length in lengths.items() if length > _LONG_QUEUE}
    if long:
        yield warn("queue", f"long queues: {long}", "is a worker running for each? `trader doctor` lists them below")
    else:
        yield ok("queue", ", ".join(f"{name} {length}" for name, length in lengths.items()) + " waiting")


def workers(celery: Celery) -> Iterator[Finding]:
    """Whether every queue has somebody who empties it."""
    found = celery.control.inspect(timeout=1.5).active_queues() or {}
    served = {queue["name"] for queues in found.values() for queue in queues}
    idle = [name for name in QUEUES if name not in served]
    if idle:
        tasks = sorted(name.rpartition(".")[2] for name, rule in TASKS.items() if rule.queue in idle)
        yield fail(
            "workers", f"nobody works on {', '.join(idle)}", f"start a worker for it; until then these wait: {', '.join(tasks)}"
        )
    else:
        yield ok("workers", f"{len(found)} workers serve all queues")
