"""Logging in, going on, ending it; what is the caller's own: sessions, password, authenticator app, tokens of scripts."""

from __future__ import annotations

from typing import Any

from flask import request

from app.domain.account import ApiToken, Scope
from app.services.accounts.logins import Pair
from app.web import answers, wire
from app.web.auth import address, current_caller
from app.web.blueprint import blueprint, services
from app.web.schemas import (
    CodeBody,
    Credentials,
    EmptyBody,
    NewPasswordBody,
    NewTokenBody,
    RecordPath,
    RefreshBody,
    StepUpBody,
)

api = blueprint("auth", "Access tokens, sessions, accounts")
NOBODY: list[dict[str, list[str]]] = [{}]


@api.post("/api/auth/login", summary="Log in", responses={200: answers.Token}, security=NOBODY)
def login(body: Credentials) -> dict[str, Any]:
    """Exchange user name and password for tokens; with an authenticator app, its code as well. 429 after too many attempts."""
    logins = services().accounts.logins
    agent = request.headers.get("User-Agent", "")
    return _pair(logins.login(body.username, body.password, body.code, address=address(), agent=agent))


@api.post("/api/auth/refresh", summary="Next tokens", responses={200: answers.Token}, security=NOBODY)
def refresh(body: RefreshBody) -> dict[str, Any]:
    """Exchange a refresh token for the next pair. Each is good once: used twice, its session ends."""
    return _pair(services().accounts.logins.refresh(body.refresh_token))


@api.get("/api/auth/me", summary="Who am I", responses={200: answers.Me})
def me() -> dict[str, Any]:
    """The caller's account, role and scopes."""
    caller = current_caller()
    return {
        "username": caller.username,
        "role": caller.role.value,
        "scopes": sorted(caller.scopes),
        "totp": caller.has_totp,
        "session_id": caller.session_id,
        "token_id": caller.token_id,
        "proved_at": wire.to_wire(caller.proved_at),
    }


@api.post("/api/auth/logout", summary="Log out", responses={200: answers.Ended})
def logout(body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its form is checked
    """End this session: its tokens are worth nothing any more."""
    return {"ended": services().accounts.logins.logout(current_caller())}


@api.post("/api/auth/logout/everywhere", summary="Log out everywhere", responses={200: answers.Ended})
def logout_everywhere(body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its form is checked
    """End all of the caller's sessions, this one too. Tokens of scripts are revoked one by one."""
    logins, caller = services().accounts.logins, current_caller()
    return {"ended": logins.end(logins.owner(caller), actor=caller.actor, why="logged out everywhere")}


@api.post("/api/auth/step-up", summary="Show to be there", responses={200: answers.Proven})
def step_up(body: StepUpBody) -> dict[str, Any]:
    """For what asks for it in the next five minutes: resuming, tokens, password. With a code where the account has an
    authenticator app, else with its password."""
    until = services().accounts.logins.prove(current_caller(), password=body.password, code=body.code, address=address())
    return {"until": wire.to_wire(until)}


@api.get("/api/auth/sessions", summary="Sessions", responses={200: answers.Sessions})
def sessions() -> dict[str, Any]:
    """The caller's logins that stand, newest first."""
    caller = current_caller()
    shown = ("session_id", "created_at", "used_at", "expires_at", "address", "agent")
    rows = services().accounts.logins.sessions(caller)
    return {
        "sessions": [
            {name: wire.to_wire(getattr(row, name)) for name in shown} | {"present": row.session_id == caller.session_id}
            for row in rows
        ]
    }


@api.post("/api/auth/sessions/<id>/end", summary="End a session", responses={200: answers.Ended})
def end_session(path: RecordPath, body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its form is checked
    """End one of the caller's sessions."""
    return {"ended": services().accounts.logins.end_own(current_caller(), path.id)}


@api.post("/api/auth/password", summary="Change the password", responses={200: answers.Done})
def change_password(body: NewPasswordBody) -> dict[str, Any]:
    """Another password for the caller; its other sessions end. Asks for a fresh step-up."""
    services().accounts.change_own_password(current_caller(), body.new_password)
    return {"status": "done"}


@api.post("/api/auth/totp/begin", summary="Enrol an authenticator app", responses={200: answers.TotpBegun})
def begin_totp(body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its form is checked
    """A new secret for the app. It counts once a code of it was confirmed. Asks for a fresh step-up."""
    accounts, caller = services().accounts, current_caller()
    secret, uri = accounts.begin_totp(accounts.logins.owner(caller), actor=caller.actor)
    return {"secret": secret, "uri": uri}


@api.post("/api/auth/totp/confirm", summary="Confirm the authenticator app", responses={200: answers.Done})
def confirm_totp(body: CodeBody) -> dict[str, Any]:
    """From now on logins ask for a code, and so does what takes on risk. Asks for a fresh step-up."""
    accounts, caller = services().accounts, current_caller()
    accounts.confirm_totp(accounts.logins.owner(caller), body.code, actor=caller.actor)
    return {"status": "done"}


@api.post("/api/auth/totp/remove", summary="Take the authenticator app away", responses={200: answers.Done})
def remove_totp(body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its form is checked
    """The password alone counts again; all sessions end. Asks for a fresh step-up, with a code."""
    accounts, caller = services().accounts, current_caller()
    accounts.remove_totp(accounts.logins.owner(caller), actor=caller.actor)
    return {"status": "done"}


@api.get("/api/auth/tokens", summary="Tokens of scripts", responses={200: answers.ApiTokens})
def tokens() -> dict[str, Any]:
    """The caller's, newest first, without their texts."""
    accounts, caller = services().accounts, current_caller()
    return {"tokens": [_shown(row) for row in accounts.database.api_tokens(accounts.logins.owner(caller))]}


@api.post("/api/auth/tokens", summary="New token for a script", responses={200: answers.NewApiToken})
def add_token(body: NewTokenBody) -> dict[str, Any]:
    """A token with some of the account's scopes; its text is shown this once. Asks for a fresh step-up."""
    accounts, caller = services().accounts, current_caller()
    scopes = frozenset(map(Scope, body.scopes))
    owner = accounts.logins.owner(caller)
    token, text = accounts.add_token(owner, name=body.name, scopes=scopes, days=body.days, actor=caller.actor)
    return _shown(token) | {"token": text}


@api.post("/api/auth/tokens/<id>/revoke", summary="Revoke a token", responses={200: answers.Done})
def revoke_token(path: RecordPath, body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its form is checked
    """One of the caller's is worth nothing any more."""
    accounts, caller = services().accounts, current_caller()
    accounts.revoke_token(accounts.logins.owner(caller), path.id, actor=caller.actor)
    return {"status": "done"}


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "access_token": pair.access_token,
        "token_type": "Bearer",
        "expires_in": pair.expires_in,
        "refresh_token": pair.refresh_token,
        "refresh_expires_in": pair.refresh_expires_in,
        "role": pair.user.role.value,
    }


def _shown(token: ApiToken) -> dict[str, Any]:
    shown = ("token_id", "name", "created_at", "expires_at", "used_at", "revoked_at")
    return {name: wire.to_wire(getattr(token, name)) for name in shown} | {"scopes": sorted(token.scopes)}
