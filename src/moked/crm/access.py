"""Who may come in: accounts, logins and their limits, sessions. Every public method is one transaction.

    invited -> has a password -> logged in: a token in the browser's cookie, its SHA-256 here
                                   | logs out, is revoked, idle for 7 days, or 30 days old -> out

A login says the same for a wrong password, an unknown address and a closed account. Refusals are values, with words
for people elsewhere; a change that a rule forbids raises `Refused` with its stable name.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from moked.crm import audit, passwords
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.models import AuditEntry, Business, LoginAttempt, UserAccount, UserSession
from moked.crm.permissions import Permission, UserRole, may
from moked.crm.sealed import Sealer
from moked.errors import SealError

log = logging.getLogger(__name__)

IDLE = timedelta(days=7)
LONGEST = timedelta(days=30)
INVITED = timedelta(days=3)
_WINDOW = timedelta(minutes=15)
_FAILURES_AN_ACCOUNT = 5
_FAILURES_AN_ADDRESS = 20
_KEPT = timedelta(days=1)
_SEEN_EVERY = timedelta(minutes=1)
_PAGE = 50


class Refused(ValueError):
    """A change that a rule forbids. `str` is its stable name: 'email', 'password', 'taken', 'last_owner', ..."""


@dataclass(frozen=True, slots=True)
class Login:
    """`token` for the cookie, or '' and why: 'wrong', 'limited', 'code' (the password is right, a code is asked)."""

    token: str = ""
    refusal: str = ""


class Access(Records):
    """Accounts on `engine`. `clock` gives aware UTC. Without a `sealer` there are no second factors."""

    def __init__(
        self,
        engine: Engine,
        *,
        sealer: Sealer | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(engine)
        self._clock = clock
        self._sealer = sealer

    # ---- first run

    def seal_secrets(self) -> None:
        """Seal second factors that an earlier version stored as they were; at the start."""
        with self._writing() as session:
            for user in session.scalars(select(UserAccount).where(UserAccount.totp_secret != "").with_for_update()):
                self._keep_factor(user, user.totp_secret)

    def anybody(self) -> bool:
        """Whether somebody can log in at all."""
        with self._read.begin() as session:
            return session.scalar(select(UserAccount.id).where(UserAccount.password_hash != "").limit(1)) is not None

    def set_up_owner(self, business_id: int, email: str, name: str, password: str) -> None:
        """Make an owner, or give an owner back their account: new password, no second factor, no open sessions."""
        email, name = _email(email), _name(name)
        secret = _hashed(password, email)
        with self._writing() as session:
            user = session.scalars(select(UserAccount).where(UserAccount.email == email)).one_or_none()
            if user is not None and user.business_id != business_id:
                raise Refused("taken")
            if user is None:
                user = _account(business_id, email, name, UserRole.OWNER, self._clock())
                session.add(user)
            user.name, user.role, user.active = name, UserRole.OWNER, True
            _enter_anew(session, user, secret)
            _without_factor(user)
            session.flush()
            audit.note(session, user, "user.set_up", f"user:{user.id}", self._clock())

    # ---- coming in

    def log_in(self, email: str, password: str, code: str = "", *, address: str, browser: str) -> Login:
        """A new session. `code` is from the authenticator app, or a recovery code, where a second factor is set."""
        email, now = email.strip().lower()[:200], self._clock()
        account = passwords.digest(email)
        with self._read.begin() as session:
            if _failures(session, account, address, now) is not None:
                log.warning("logins are limited", extra={"address": address})
                return Login(refusal="limited")
            user = session.scalars(select(UserAccount).where(UserAccount.email == email)).one_or_none()
            stored = user.password_hash if user is not None and user.active else ""
        good = passwords.right(stored, password[: passwords.LONGEST])  # no transaction is open while this takes time
        with self._writing() as session:
            session.execute(delete(LoginAttempt).where(LoginAttempt.at < now - _KEPT))
            user = session.get(UserAccount, user.id, with_for_update=True) if good and user is not None else None
            if user is None or not user.active or user.password_hash != stored:
                return self._failed(session, account, address)
            if user.second_factor and not code.strip():
                return Login(refusal="code")
            if user.second_factor and not self._code_taken(user, code, now):
                return self._failed(session, account, address, "wrong_code")
            token = passwords.token()
            opened = UserSession(
                user_id=user.id,
                token_hash=passwords.digest(token),
                created_at=now,
                seen_at=now,
                address=address,
                browser=browser,
            )
            session.add(opened)
            session.execute(delete(LoginAttempt).where(LoginAttempt.account == account))
            audit.note(session, user, "user.logged_in", f"user:{user.id}", now, address=address)
            return Login(token)

    def actor(self, token: str) -> Actor | None:
        """Who this cookie belongs to, or None when its session is over."""
        now = self._clock()
        with self._read.begin() as session:
            found = session.execute(
                select(UserSession, UserAccount, Business)
                .join(UserAccount, UserAccount.id == UserSession.user_id)
                .join(Business, Business.id == UserAccount.business_id)
                .where(
                    UserSession.token_hash == passwords.digest(token),
                    UserSession.seen_at > now - IDLE,
                    UserSession.created_at > now - LONGEST,
                    UserAccount.active,
                )
            ).one_or_none()
        if found is None:
            return None
        opened, user, business = found
        if now - opened.seen_at >= _SEEN_EVERY:
            with self._writing() as session:
                if (again := session.get(UserSession, opened.id)) is not None:
                    again.seen_at = now
        return Actor.of(user, business, opened.id)

    def board_of(self, token: str) -> int | None:
        """The business whose live calls this session may watch."""
        found = self.actor(token) if token else None
        return found.business_id if found is not None and may(found.role, Permission.VIEW) else None

    def log_out(self, by: Actor) -> None:
        with self._writing() as session:
            session.execute(delete(UserSession).where(UserSession.id == by.session_id))
            audit.note(session, by, "user.logged_out", f"user:{by.user_id}", self._clock())

    # ---- one's own account

    def sessions(self, by: Actor) -> Sequence[UserSession]:
        """Where one is logged in, the latest first."""
        now = self._clock()
        with self._read.begin() as session:
            return session.scalars(
                select(UserSession)
                .where(
                    UserSession.user_id == by.user_id,
                    UserSession.seen_at > now - IDLE,
                    UserSession.created_at > now - LONGEST,
                )
                .order_by(UserSession.seen_at.desc(), UserSession.id.desc())
            ).all()

    def revoke(self, by: Actor, session_id: int | None = None) -> None:
        """End one of one's own sessions, or all but the present one."""
        theirs = UserSession.user_id == by.user_id
        which = UserSession.id != by.session_id if session_id is None else UserSession.id == session_id
        with self._writing() as session:
            session.execute(delete(UserSession).where(theirs, which))
            audit.note(session, by, "session.revoked", f"user:{by.user_id}", self._clock())

    def change_password(self, by: Actor, old: str, new: str) -> None:
        """Other sessions end: whoever may have known the old password is out."""
        secret = _hashed(new, by.email)
        with self._checked(by, old) as (session, user):
            user.password_hash = secret
            session.execute(delete(UserSession).where(UserSession.user_id == user.id, UserSession.id != by.session_id))
            audit.note(session, by, "user.password_changed", f"user:{user.id}", self._clock())

    def turn_on_totp(self, by: Actor, password: str, secret: str, code: str) -> list[str]:
        """From now on a code is asked at login. Returns the recovery codes, which are shown once."""
        step = passwords.totp_step(secret, code, self._clock())
        if step is None:
            raise Refused("code")
        codes = passwords.recovery_codes()
        with self._checked(by, password) as (session, user):
            self._keep_factor(user, secret)
            user.totp_step = step
            user.recovery = [passwords.recovery_digest(one) for one in codes]
            audit.note(session, by, "user.totp_on", f"user:{user.id}", self._clock())
        return codes

    def turn_off_totp(self, by: Actor, password: str) -> None:
        with self._checked(by, password) as (session, user):
            _without_factor(user)
            audit.note(session, by, "user.totp_off", f"user:{user.id}", self._clock())

    # ---- everybody's accounts (of one business)

    def users(self, business_id: int) -> Sequence[UserAccount]:
        with self._read.begin() as session:
            return session.scalars(
                select(UserAccount)
                .where(UserAccount.business_id == business_id)
                .order_by(UserAccount.active.desc(), UserAccount.name, UserAccount.id)
            ).all()

    def invite(self, by: Actor, email: str, name: str, role: UserRole) -> str:
        """A new account. Returns the token of the link that sets its password."""
        with self._writing() as session:
            return self._invitation(self._added(session, by, email, name, role))

    def add_user(self, by: Actor, email: str, name: str, role: UserRole) -> int:
        """A new account without a link yet (`invite_again` makes one). Returns its id."""
        with self._writing() as session:
            return self._added(session, by, email, name, role).id

    def invite_owner(self, business_id: int, email: str, name: str, *, lost_phone: bool = False) -> str:
        """As the operator: an owner of this business, or a new link for one, perhaps without their second factor.
        Returns the token of the link.
        """
        email, name = _email(email), _name(name)
        with self._writing() as session:
            user = session.scalars(select(UserAccount).where(UserAccount.email == email)).one_or_none()
            if user is not None and user.business_id != business_id:
                raise Refused("taken")
            if user is None:
                user = _account(business_id, email, name, UserRole.OWNER, self._clock())
                session.add(user)
            user.role, user.active = UserRole.OWNER, True
            if lost_phone:
                _without_factor(user)
            token = self._invitation(user)
            session.flush()
            audit.note(session, user, "user.invited", f"user:{user.id}", self._clock(), role=UserRole.OWNER.value)
            return token

    def invite_again(self, by: Actor, user_id: int) -> str:
        """A link for somebody who lost their password, or their invitation."""
        with self._writing() as session:
            user = _theirs(session, by, user_id)
            token = self._invitation(user)
            audit.note(session, by, "user.invited_again", f"user:{user.id}", self._clock())
            return token

    def invited(self, token: str) -> str | None:
        """The address a link was made for, or None when it is used or too old."""
        with self._read.begin() as session:
            user = self._invitee(session, token)
            return user.email if user is not None else None

    def accept(self, token: str, password: str) -> None:
        """Set the password of the account that the link was made for; the link is used up. The second factor stays."""
        email = self.invited(token)
        if email is None:
            raise Refused("link")
        secret = _hashed(password, email)
        with self._writing() as session:
            user = self._invitee(session, token)
            if user is None:
                raise Refused("link")
            _enter_anew(session, user, secret)
            audit.note(session, user, "user.password_set", f"user:{user.id}", self._clock())

    def change_user(self, by: Actor, user_id: int, *, role: UserRole, active: bool) -> None:
        """Another role, or closed or opened again. The last open owner stays one."""
        with self._writing() as session:
            # All owners are locked, in one order: two of them cannot close one another at the same moment.
            owners = session.scalars(
                select(UserAccount)
                .where(UserAccount.business_id == by.business_id, UserAccount.role == UserRole.OWNER)
                .order_by(UserAccount.id)
                .with_for_update()
            ).all()
            user = _theirs(session, by, user_id)
            left = [one for one in owners if one.active and one.password_hash and one.id != user.id]
            if not left and not (role is UserRole.OWNER and active):
                raise Refused("last_owner")
            user.role, user.active = role, active
            if not active:
                session.execute(delete(UserSession).where(UserSession.user_id == user.id))
                user.invite_hash = None
            audit.note(session, by, "user.changed", f"user:{user.id}", self._clock(), role=role.value, active=active)

    def audit_log(self, business_id: int, page: int = 1) -> tuple[Sequence[AuditEntry], int]:
        """One page of what was done, the latest first, and how many pages there are."""
        with self._read.begin() as session:
            total = session.scalar(select(func.count()).where(AuditEntry.business_id == business_id)) or 0
            rows = session.scalars(
                select(AuditEntry)
                .where(AuditEntry.business_id == business_id)
                .order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
                .limit(_PAGE)
                .offset((page - 1) * _PAGE)
            ).all()
        return rows, max(1, -(-total // _PAGE))

    # ---- inside

    def _added(self, session: Session, by: Actor, email: str, name: str, role: UserRole) -> UserAccount:
        email, name = _email(email), _name(name)
        if session.scalar(select(UserAccount.id).where(UserAccount.email == email)) is not None:
            raise Refused("taken")
        user = _account(by.business_id, email, name, role, self._clock())
        session.add(user)
        session.flush()
        audit.note(session, by, "user.invited", f"user:{user.id}", self._clock(), email=email, role=role.value)
        return user

    def _code_taken(self, user: UserAccount, code: str, now: datetime) -> bool:
        """Use up a code of the app, which is good once, or one of the recovery codes."""
        step = passwords.totp_step(self._factor(user), code, now)
        if step is not None and step > user.totp_step:
            user.totp_step = step
            return True
        recovery = passwords.recovery_digest(code)
        if recovery in user.recovery:
            user.recovery = [one for one in user.recovery if one != recovery]
            return True
        return False

    def _factor(self, user: UserAccount) -> str:
        """The secret of the second factor; '' where it cannot be opened: then only recovery codes are good."""
        if user.totp_sealed is None:
            return user.totp_secret
        try:
            secret = self._sealing().open(user.totp_sealed, sealed_for(user.id)).decode()
        except SealError as error:
            log.error("a second factor cannot be opened", extra={"user": user.id, "error": str(error)})
            return ""
        if self._sealing().stale(user.totp_sealed):
            self._keep_factor(user, secret)
        return secret

    def _keep_factor(self, user: UserAccount, secret: str) -> None:
        user.totp_secret, user.totp_sealed = "", self._sealing().seal(secret.encode(), sealed_for(user.id))

    def _sealing(self) -> Sealer:
        if self._sealer is None:
            raise SealError("there is no key to seal second factors with")
        return self._sealer

    @contextmanager
    def _checked(self, by: Actor, password: str) -> Iterator[tuple[Session, UserAccount]]:
        """A transaction on one's own account, after the password was checked; guesses count as failed logins do."""
        account, now = passwords.digest(by.email), self._clock()
        with self._read.begin() as session:
            user = session.get(UserAccount, by.user_id)
            assert user is not None, "accounts are closed, not removed"
            stored = user.password_hash
            if _failures(session, account, "", now) is not None:
                raise Refused("limited")
        if not passwords.right(stored, password[: passwords.LONGEST]):
            with self._writing() as session:
                session.add(LoginAttempt(at=now, account=account, address=""))
            raise Refused("wrong_password")
        with self._writing() as session:
            user = session.get(UserAccount, by.user_id, with_for_update=True)
            assert user is not None
            yield session, user

    def _failed(self, session: Session, account: str, address: str, why: str = "wrong") -> Login:
        session.add(LoginAttempt(at=self._clock(), account=account, address=address))
        log.warning("a login failed", extra={"address": address, "reason": why})
        return Login(refusal=why)

    def _invitation(self, user: UserAccount) -> str:
        token = passwords.token()
        user.invite_hash, user.invite_until = passwords.digest(token), self._clock() + INVITED
        return token

    def _invitee(self, session: Session, token: str) -> UserAccount | None:
        return session.scalars(
            select(UserAccount).where(
                UserAccount.invite_hash == passwords.digest(token),
                UserAccount.invite_until > self._clock(),
                UserAccount.active,
            )
        ).one_or_none()


def _account(business_id: int, email: str, name: str, role: UserRole, now: datetime) -> UserAccount:
    return UserAccount(business_id=business_id, email=email, name=name, role=role, created_at=now, recovery=[])


def _enter_anew(session: Session, user: UserAccount, secret: str) -> None:
    """A password that came by a link: whoever was in with the old one is out."""
    user.password_hash, user.invite_hash, user.invite_until = secret, None, None
    if user.id is not None:
        session.execute(delete(UserSession).where(UserSession.user_id == user.id))


def _theirs(session: Session, by: Actor, user_id: int) -> UserAccount:
    user = session.get(UserAccount, user_id)
    if user is None or user.business_id != by.business_id:
        raise LookupError(f"no user {user_id}")
    return user


def _failures(session: Session, account: str, address: str, now: datetime) -> str | None:
    """'account' or 'address' when that one has failed too often lately."""
    lately = LoginAttempt.at > now - _WINDOW
    count = select(func.count()).select_from(LoginAttempt)
    if (session.scalar(count.where(lately, LoginAttempt.account == account)) or 0) >= _FAILURES_AN_ACCOUNT:
        return "account"
    if address and (session.scalar(count.where(lately, LoginAttempt.address == address)) or 0) >= _FAILURES_AN_ADDRESS:
        return "address"
    return None


def _without_factor(user: UserAccount) -> None:
    user.totp_secret, user.totp_sealed, user.recovery = "", None, []


def sealed_for(user_id: int) -> str:
    """What a second factor is sealed for."""
    return f"totp:{user_id}"


def _email(text: str) -> str:
    email = text.strip().lower()
    name, at, host = email.partition("@")
    if not (name and at and "." in host and len(email) <= 200 and not any(c.isspace() or c in '<>"' for c in email)):
        raise Refused("email")
    return email


def _name(text: str) -> str:
    name = " ".join(text.split())[:100]
    if not name:
        raise Refused("name")
    return name


def _hashed(password: str, email: str) -> str:
    if not passwords.acceptable(password, email):
        raise Refused("password")
    return passwords.hashed(password)
