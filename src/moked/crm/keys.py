"""Keys of the API: made by a person, for what they choose of what they may; and answers that are given twice.

A key is 256 random bits behind `mk_`; its SHA-256 is stored, and its first letters, to tell it from others. It acts for
whoever made it: with their name in the audit log, never with more than they may by now, no longer than their account.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.exc import IntegrityError

from moked.crm import audit, passwords
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.models import Business, UserAccount
from moked.crm.permissions import SCOPES, Permission
from moked.crm.tables_api import ApiKey, ApiReply

PREFIX = "mk_"
KEPT = timedelta(days=1)
"""So long a repeated POST is answered as the first one was."""
_SHOWN = 11
_MOST = 50
_MOST_OWN = 10
_OWN = frozenset({Permission.CALENDAR})
_USED_EVERY = timedelta(minutes=1)
_WORKING = timedelta(minutes=2)


class Unusable(ValueError):
    """A key cannot be made like that. `str` is why: 'name', 'scopes', 'expiry', 'too_many'."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it was given. `status` 0: it is being worked on."""

    status: int
    headers: dict[str, str]
    body: str


class OtherRequest(Exception):
    """The same idempotency key came with another request before."""


class Keys(Records):
    """Keys on `engine`. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(engine)
        self._clock = clock

    def all(self, business_id: int) -> Sequence[tuple[ApiKey, str]]:
        """The keys, good ones first, each with the name of whoever made it."""
        with self._read.begin() as session:
            rows = session.execute(
                select(ApiKey, UserAccount.name)
                .join(UserAccount, UserAccount.id == ApiKey.user_id)
                .where(ApiKey.business_id == business_id)
                .order_by(ApiKey.revoked_at.is_not(None), ApiKey.id.desc())
                .limit(4 * _MOST)
            )
            return [(key, name) for key, name in rows]

    def make(self, by: Actor, name: str, scopes: Collection[Permission], days: int | None) -> str:
        """A new key, shown once. `days` it is good for, None = until it is revoked. Raises `Unusable`."""
        name, now = " ".join(name.split())[:100], self._clock()
        if not name:
            raise Unusable("name")
        if not scopes or not set(scopes) <= SCOPES or not all(by.may(scope) for scope in scopes):
            raise Unusable("scopes")
        if days is not None and not 1 <= days <= 3660:
            raise Unusable("expiry")
        token, own = PREFIX + passwords.token(), set(scopes) == _OWN
        with self._writing() as session:
            good = session.scalars(
                select(ApiKey).where(ApiKey.business_id == by.business_id, ApiKey.revoked_at.is_(None))
            ).all()
            alike = [key for key in good if _is_own(key) == own and (not own or key.user_id == by.user_id)]
            if len(alike) >= (_MOST_OWN if own else _MOST):
                raise Unusable("too_many")
            key = ApiKey(
                business_id=by.business_id,
                user_id=by.user_id,
                name=name,
                prefix=token[:_SHOWN],
                key_hash=passwords.digest(token),
                scopes=sorted(scope.value for scope in scopes),
                created_at=now,
                expires_at=None if days is None else now + timedelta(days=days),
            )
            session.add(key)
            session.flush()
            audit.note(session, by, "key.made", f"key:{key.id}", now, scopes=key.scopes)
        return token

    def own(self, by: Actor) -> Sequence[ApiKey]:
        """One's own keys that open one's calendar and nothing else, and are good."""
        with self._read.begin() as session:
            keys = session.scalars(
                select(ApiKey)
                .where(ApiKey.business_id == by.business_id, ApiKey.user_id == by.user_id, ApiKey.revoked_at.is_(None))
                .order_by(ApiKey.id)
            )
            return [key for key in keys if _is_own(key)]

    def make_own(self, by: Actor, name: str) -> str:
        """A key to one's own calendar, shown once, until it is revoked. Raises `Unusable`."""
        return self.make(by, name, _OWN, None)

    def revoke(self, by: Actor, key_id: int, *, own: bool = False) -> None:
        """From now on it opens nothing. `own`: only one of `own`'s. Raises `LookupError`."""
        with self._writing() as session:
            key = session.get(ApiKey, key_id, with_for_update=True)
            if key is None or key.business_id != by.business_id:
                raise LookupError(f"no key {key_id}")
            if own and (key.user_id != by.user_id or not _is_own(key)):
                raise LookupError(f"no key {key_id}")
            if key.revoked_at is None:
                key.revoked_at = self._clock()
                audit.note(session, by, "key.revoked", f"key:{key.id}", self._clock())

    def actor(self, token: str) -> Actor | None:
        """Who acts with this key, or None where it opens nothing (any more)."""
        if not token.startswith(PREFIX):
            return None
        now = self._clock()
        with self._read.begin() as session:
            found = session.execute(
                select(ApiKey, UserAccount, Business)
                .join(UserAccount, UserAccount.id == ApiKey.user_id)
                .join(Business, Business.id == ApiKey.business_id)
                .where(
                    ApiKey.key_hash == passwords.digest(token),
                    ApiKey.revoked_at.is_(None),
                    UserAccount.active,
                    UserAccount.business_id == ApiKey.business_id,
                )
            ).one_or_none()
        if found is None:
            return None
        key, user, business = found
        if key.expires_at is not None and key.expires_at <= now:
            return None
        if key.used_at is None or now - key.used_at >= _USED_EVERY:
            with self._writing() as session:
                session.execute(update(ApiKey).where(ApiKey.id == key.id).values(used_at=now))
        scopes = frozenset(Permission(scope) for scope in key.scopes if scope in set(Permission))
        return replace(Actor.of(user, business, 0), name=f"{user.name} ({key.name})", scopes=scopes, key_id=key.id)

    # ---- the same request again

    def begin(self, by: Actor, key: str, request_hash: str) -> Reply | None:
        """None: it is new, do it and `finish` it. Else the answer it had. Raises `OtherRequest`."""
        now = self._clock()
        row = ApiReply(
            business_id=by.business_id, key_id=by.key_id, key=key, request_hash=request_hash, created_at=now, headers={}
        )
        try:
            with self._writing() as session:
                session.execute(delete(ApiReply).where(ApiReply.created_at < now - KEPT))
                # whoever worked on it died: it may have been done or not, and may be asked for again
                session.execute(delete(ApiReply).where(ApiReply.status == 0, ApiReply.created_at < now - _WORKING))
                session.add(row)
        except IntegrityError:
            with self._read.begin() as session:
                before = session.scalars(
                    select(ApiReply).where(ApiReply.key_id == by.key_id, ApiReply.key == key)
                ).one_or_none()
            if before is None:  # it failed a moment ago
                return Reply(0, {}, "")
            if before.request_hash != request_hash:
                raise OtherRequest from None
            return Reply(before.status, before.headers, before.body)
        return None

    def finish(self, by: Actor, key: str, reply: Reply | None) -> None:
        """The answer, to be given again; None: it failed, and may be tried anew."""
        ours = ApiReply.key_id == by.key_id, ApiReply.key == key
        with self._writing() as session:
            if reply is None:
                session.execute(delete(ApiReply).where(*ours))
            else:
                values = {"status": reply.status, "headers": reply.headers, "body": reply.body}
                session.execute(update(ApiReply).where(*ours).values(**values))


def _is_own(key: ApiKey) -> bool:
    """Whether it opens its maker's calendar and nothing else."""
    return set(key.scopes) == {scope.value for scope in _OWN}
