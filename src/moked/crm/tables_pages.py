"""Tables of the desk's settings and figures.

business -< agent_version     what its agent says, each version that was ever published
         -< agent_rehearsal   a draft that somebody is trying out, and how far the talk has come
         -< day_figures       a day that is over, counted once
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from moked.crm.models import Base, SafeText


class AgentVersion(Base):
    """All three texts (`dialog.published`) as they held from then on. Rows are only ever added; the newest holds.

    `part` is the one that was changed, `restored` the version it was taken from, 0 where it was written anew.
    """

    __tablename__ = "agent_version"
    __table_args__ = (UniqueConstraint("business_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    version: Mapped[int]
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(SafeText(100))
    part: Mapped[str] = mapped_column(SafeText(16))
    note: Mapped[str] = mapped_column(SafeText(200), default="")
    restored: Mapped[int] = mapped_column(default=0)
    profile: Mapped[str]
    script: Mapped[str]
    prompt: Mapped[str]


class AgentRehearsal(Base):
    """One a person at most. `kept` is the agent's own state, `lines` what was said; see `crm.rehearsals`."""

    __tablename__ = "agent_rehearsal"

    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    base: Mapped[int]  # the version the draft was written over
    part: Mapped[str] = mapped_column(SafeText(16))
    draft: Mapped[str]
    kept: Mapped[dict[str, Any]] = mapped_column(default=dict)
    lines: Mapped[list[Any]] = mapped_column(default=list)


class DayFigures(Base):
    """`analytics.figures.Figures` of one day of the business in `zone`; `simulated`: of rehearsed calls alone."""

    __tablename__ = "day_figures"

    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date(), primary_key=True)
    simulated: Mapped[bool] = mapped_column(primary_key=True)
    zone: Mapped[str] = mapped_column(SafeText(64))
    shape: Mapped[int]  # of what is counted; an older one is counted again
    figures: Mapped[dict[str, Any]]
    counted_at: Mapped[datetime]
