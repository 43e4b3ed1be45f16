"""Which passwords are too easy to guess."""

from __future__ import annotations

import math
from collections import Counter

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 256
SHORTEST_SECRET_BYTES = 32

# Words that make up the passwords and secrets people try first, and those of examples and manuals.
_WORDS = (
    "password passw0rd passwort kennwort secret geheim admin administrator root user guest default changeme change example "
    "test testing trader trading alpha alphatrader alpaca simulated money bitcoin qwerty qwertz azerty asdf asdfgh zxcvbn "
    "yxcvbn letmein welcome willkommen login master dragon monkey sunshine princess football baseball iloveyou superman "
    "batman shadow michael jordan hunter trustno1 whatever freedom starwars hello hallo computer internet server database "
    "postgres postgresql redis grafana flower super superuser somethingrandom something random jwt key very secure safe your "
    "my the is it me please now before anyone else can reach this address correct horse battery staple spring summer autumn "
    "winter sommer january december monday friday demo dev development production prod staging temp temporary pass word token "
    "private public service system operator viewer"
)
_BY_LENGTH = sorted({*_WORDS.split()}, key=len, reverse=True)
_LOOKALIKES = str.maketrans({"0": "o", "1": "l", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"})
_ROWS = (
    "abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "qwertzuiop", "asdfghjkl", "zxcvbnm", "1qaz2wsx3edc4rfv5tgb",
    "1q2w3e4r5t6y7u8i9o0p",
)  # fmt: skip
_LEAST_BITS = 20.0


def password_fault(password: str, username: str = "") -> str | None:
    """Why `password` is no good where others can reach the API, None if it is. The answer never shows the password."""
    if len(password) < SHORTEST_PASSWORD:
        return f"is shorter than {SHORTEST_PASSWORD} characters"
    if len(password) > LONGEST_PASSWORD:
        return f"is longer than {LONGEST_PASSWORD} characters"
    return guessable(password, username)


def secret_fault(secret: str) -> str | None:
    """Why `secret` is no key to sign with, None if it is one."""
    if len(secret.encode()) < SHORTEST_SECRET_BYTES:
        return f"is shorter than {SHORTEST_SECRET_BYTES} bytes"
    return guessable(secret)


def guessable(text: str, username: str = "") -> str | None:
    """Why `text` is easy to guess, None if it is not: what is left without known words, sequences and repetitions must still
    hold some surprise."""
    period = next((n for n in range(1, len(text) // 2 + 1) if text == (text[:n] * len(text))[: len(text)]), None)
    if period is not None and period < len(text) // 2 + 1 and period <= 10:
        return "repeats itself"
    names = [part for part in username.lower().split() if len(part) > 2]
    if min(_surprise(reading, names) for reading in (text.lower(), text.lower().translate(_LOOKALIKES))) < _LEAST_BITS:
        return "is made of common words, names or sequences"
    return None


def _surprise(text: str, names: list[str]) -> float:
    """Bits, roughly: each known word or run counts as one character."""
    for word in (*names, *_BY_LENGTH):
        text = text.replace(word, "\0")
    shortened = _without_runs(text)
    counts = Counter(shortened)
    entropy = -sum(n / len(shortened) * math.log2(n / len(shortened)) for n in counts.values())
    return entropy * len(shortened)


def _without_runs(text: str) -> str:
    """`text` with runs of three and more (abc, 321, qwe, aaa) shortened to their first character."""
    kept = []
    at = 0
    while at < len(text):
        length = max(_run(text, at, row) for row in (*_ROWS, *(row[::-1] for row in _ROWS), text[at] * len(text)))
        kept.append(text[at])
        at += length if length > 2 else 1
    return "".join(kept)


def _run(text: str, at: int, row: str) -> int:
    start = row.find(text[at])
    length = 0
    while start >= 0 and at + length < len(text) and start + length < len(row) and text[at + length] == row[start + length]:
        length += 1
    return max(length, 1)
