"""Accounts: who there is, what each may do, and the tokens of their scripts."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.account import SCOPES_OF_SCRIPTS, ApiToken, Caller, Role, Scope, User
from app.domain.errors import ConfigurationError, Conflict, InvalidInput, NotFound
from app.domain.password import LONGEST_PASSWORD, password_fault
from app.domain.ports import Clock
from app.services.accounts import totp
from app.services.accounts.gate import Gate
from app.services.accounts.logins import Logins
from app.services.accounts.passwords import Passwords
from app.services.accounts.tokens import new_id, new_script_token
from app.services.database_service import DatabaseService

LONGEST_TOKEN_DAYS = 366
MOST_TOKENS = 50  # of one account that are good
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Changes accounts. Raises NotFound, Conflict, InvalidInput. actor: who asks, for the audit log.

    local: nobody beyond this machine can reach the API and no money is at stake; only then passwords may be weak."""

    database: DatabaseService
    clock: Clock
    passwords: Passwords
    gate: Gate
    logins: Logins
    local: bool

    def seed(self, username: str, password: str) -> None:
        """The account of the settings: made where there is none at all; its password follows the settings until a person
        changes it."""
        known = self.database.users()
        if not known:
            first = self._new(username, password, Role.ADMIN, by_settings=True)
            try:
                self.database.add_user(first, actor="settings")
            except Conflict:  # another process was faster
                return
        for user in known:
            if user.password_by_settings and not self.passwords.fits(user.password_hash, password):
                self._set_password(user, password, actor="settings", by_settings=True)

    def demand_strength(self) -> None:
        """ConfigurationError where others can reach the API and an account has a password that was taken when they could
        not."""
        weak = [user.username for user in self.database.users() if user.password_weak and user.disabled_at is None]
        if weak and not self.local:
            steps = "; ".join(f"trader user passwd {name}" for name in weak)
            raise ConfigurationError(f"accounts with a password that is easy to guess: {', '.join(weak)}; run: {steps}")

    def named(self, username: str) -> User:
        """The account. NotFound."""
        found = self.database.user(username)
        if found is None:
            raise NotFound(f"no account {username}; `trader user list` lists them")
        return found

    def add(self, username: str, password: str, role: Role, *, actor: str) -> User:
        """A new account."""
        if not _NAME.fullmatch(username):
            raise InvalidInput("a user name has 1 to 32 characters of a-z, 0-9, dot, hyphen, underscore")
        user = self._new(username, password, role, by_settings=False)
        self.database.add_user(user, actor=actor)
        return user

    def set_password(self, user: User, password: str, *, actor: str, but: str | None = None) -> None:
        """Another password; all sessions end, but for one."""
        self._set_password(user, password, actor=actor, by_settings=False, but=but)

    def change_own_password(self, caller: Caller, password: str) -> None:
        """Another password for the caller; its other sessions end."""
        self.set_password(self.logins.owner(caller), password, actor=caller.actor, but=caller.session_id)

    def set_role(self, user: User, role: Role, *, actor: str) -> None:
        """Another role, from the next request on. Conflict: no enabled admin would be left."""
        self._change(user, {"role": role}, "role_changed", actor, role=role, previous=user.role)

    def disable(self, user: User, *, actor: str) -> None:
        """Nobody gets in as this any more. Conflict: no enabled admin would be left."""
        self._change(user, {"disabled_at": self.clock.now()}, "disabled", actor, end_sessions=True)

    def enable(self, user: User, *, actor: str) -> None:
        """It may log in again; its tokens are good again too."""
        self._change(user, {"disabled_at": None}, "enabled", actor)

    def begin_totp(self, user: User, *, actor: str) -> tuple[str, str]:
        """A new secret for the authenticator app, and the same as an address; it counts once a code of it was confirmed.
        Conflict: the account has one."""
        if user.has_totp:
            raise Conflict("the account has an authenticator; take it away first")
        nonce = totp.new_nonce()
        self._change(user, {"totp_nonce": nonce, "totp_confirmed": False, "totp_step": 0}, "totp_begun", actor)
        key = self.logins.signer.keys[0]
        return totp.secret(key, user.user_id, nonce), totp.address(key, user, nonce)

    def confirm_totp(self, user: User, code: str, *, actor: str) -> None:
        """Codes are asked for from now on. InvalidInput: it is none of the new secret's."""
        if user.has_totp or user.totp_nonce is None:
            raise Conflict("there is nothing to confirm; begin first")
        step = totp.step_of(code, self.logins.signer.keys[:1], user, self.clock.now())
        if step is None:
            raise InvalidInput("not the present code; is the clock of this machine right?", code="wrong_code")
        self._change(user, {"totp_confirmed": True, "totp_step": step}, "totp_confirmed", actor)

    def remove_totp(self, user: User, *, actor: str) -> None:
        """The password alone counts again; sessions end."""
        values = {"totp_nonce": None, "totp_confirmed": False, "totp_step": 0}
        self._change(user, values, "totp_removed", actor, end_sessions=True)

    def add_token(self, user: User, *, name: str, scopes: Collection[Scope], days: int, actor: str) -> tuple[ApiToken, str]:
        """A token for a script, and its text, which nobody can show again."""
        allowed = user.role.scopes & SCOPES_OF_SCRIPTS
        if not scopes or not set(scopes) <= allowed:
            raise InvalidInput(f"scopes of a token of this account: one or more of {', '.join(sorted(allowed))}")
        if not 1 <= days <= LONGEST_TOKEN_DAYS:
            raise InvalidInput(f"a token is good for 1 to {LONGEST_TOKEN_DAYS} days")
        now = self.clock.now()
        good = [one for one in self.database.api_tokens(user) if one.revoked_at is None and one.expires_at > now]
        if len(good) >= MOST_TOKENS:
            raise Conflict(f"the account has {MOST_TOKENS} good tokens; revoke one first")
        token_id, text, own = new_script_token()
        token = ApiToken(
            token_id=token_id,
            user_id=user.user_id,
            name=name,
            digest=own,
            scopes=frozenset(scopes),
            created_at=now,
            expires_at=now + timedelta(days=days),
            used_at=None,
            revoked_at=None,
        )
        self.database.add_api_token(token, username=user.username, actor=actor)
        return token, text

    def revoke_token(self, user: User, token_id: str, *, actor: str) -> None:
        """It is worth nothing any more. NotFound: the account has no such token."""
        self.database.revoke_api_token(user, token_id, actor=actor)
        self.gate.forget()

    def _new(self, username: str, password: str, role: Role, *, by_settings: bool) -> User:
        return User(
            user_id=new_id(),
            username=username,
            password_hash=self.passwords.hash(password),
            password_by_settings=by_settings,
            password_weak=self._is_weak(password, username),
            role=role,
            created_at=self.clock.now(),
            disabled_at=None,
            totp_nonce=None,
            totp_confirmed=False,
            totp_step=0,
        )

    def _set_password(self, user: User, password: str, *, actor: str, by_settings: bool, but: str | None = None) -> None:
        values = {
            "password_weak": self._is_weak(password, user.username),
            "password_hash": self.passwords.hash(password),
            "password_by_settings": by_settings,
        }
        self._change(user, values, "password_changed", actor, end_sessions=True, but=but)

    def _is_weak(self, password: str, username: str) -> bool:
        """InvalidInput where it matters."""
        fault = password_fault(password, username)
        if fault is not None and (not self.local or not 1 <= len(password) <= LONGEST_PASSWORD):
            raise InvalidInput(f"the password {fault}; take another one", code="weak_password")
        return fault is not None

    def _change(self, user: User, values: Mapping[str, Any], action: str, actor: str, **more: Any) -> None:
        self.database.change_user(user, values, action=action, actor=actor, **more)
        self.gate.forget()
