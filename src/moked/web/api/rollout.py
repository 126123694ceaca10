"""How calls are heard: what holds, its history, what was measured; and changes."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from moked.crm.audit import Actor
from moked.crm.permissions import Permission
from moked.crm.rollouts import Rollouts
from moked.rollout.requests import Change, Refused, read_number, read_share, read_since, state
from moked.web.api.layer import Api
from moked.web.api.problems import Problem
from moked.web.api.schemas import In
from moked.web.parts import ApiParts


class RolloutOut(BaseModel):
    version: int = Field(description="Of the last change; 0: nothing was ever set at run time")
    now: str = Field(description="What holds, in words")
    note: str
    default: Literal["on", "off"]
    share: dict[str, Any] | None
    numbers: list[dict[str, Any]]
    shadow_percent: int
    last_change: dict[str, Any] | None


class RolloutReport(BaseModel):
    since_s: int
    live: dict[str, Any] = Field(description="By engine: calls, turns, and how fast answers came")
    shadow: dict[str, Any] = Field(description="Both ways side by side, where both heard a call")


class RolloutChange(In):
    """One of `streaming` (perhaps with `percent` or `number`, and `for`), `rollback` or `shadow`."""

    streaming: Literal["on", "off"] | None = None
    percent: int | None = Field(None, ge=0, le=100, description="For this share of the calls")
    number: str | None = Field(None, max_length=32, description="For calls from or to this number")
    lasting: str | None = Field(None, alias="for", max_length=16, description="Only for so long, such as 30m or 2h")
    rollback: Literal[True] | None = Field(None, description="Streaming off for everybody")
    shadow: int | None = Field(None, ge=0, le=100, description="Share of calls heard by both ways")
    why: str = Field("", max_length=400)

    def fields(self) -> dict[str, str]:
        given = self.model_dump(exclude_none=True, by_alias=True)
        return {name: "true" if value is True else str(value) for name, value in given.items() if value != ""}


class History(BaseModel):
    changes: list[dict[str, Any]]


class ReportQuery(In):
    since: str = Field("24h", max_length=16, description="Such as 30m or 24h")


def add(api: Api, parts: ApiParts) -> None:
    """`/rollout`, `/rollout/history`, `/rollout/report`, `/rollout/numbers/<number>`."""

    def ours(by: Actor) -> Rollouts:
        found = parts.rollouts(by.business_id)
        if found is None:
            raise Problem("not_found", "How calls are heard is set by the first business of this installation.")
        return found

    def now_holds(by: Actor) -> RolloutOut:
        rollouts = ours(by)
        stored = rollouts.load()
        return RolloutOut.model_validate(
            state(
                stored.version,
                stored.policy,
                default=parts.streaming_default,
                means=parts.streaming_means,
                now=rollouts.now(),
                last=rollouts.history(1),
            )
        )

    def change(by: Actor, asked: Change) -> RolloutOut:
        name = f"api:{by.name}"[:64]
        try:
            ours(by).change(lambda policy: asked.make(policy, name), by=name, what=asked.what, why=asked.why)
        except Refused as error:
            raise _wrong(error) from None
        parts.rollout_changed()
        return now_holds(by)

    @api.on("GET", "/rollout", needs=Permission.VIEW, gives=RolloutOut)
    def get_rollout(by: Actor) -> RolloutOut:
        """How calls are heard now."""
        return now_holds(by)

    @api.on("POST", "/rollout", needs=Permission.ROLLOUT, body=RolloutChange, gives=RolloutOut)
    def change_rollout(by: Actor, body: RolloutChange) -> RolloutOut:
        """Change how calls are heard, while they run."""
        try:
            asked = read_share(body.fields(), now=ours(by).now())
        except Refused as error:
            raise _wrong(error) from None
        return change(by, asked)

    @api.on("DELETE", "/rollout/numbers/<number>", needs=Permission.ROLLOUT, gives=RolloutOut)
    def clear_number(by: Actor, number: str) -> RolloutOut:
        """Take back what was set for one number."""
        try:
            asked = read_number(number)
        except Refused as error:
            raise _wrong(error) from None
        return change(by, asked)

    @api.on("GET", "/rollout/history", needs=Permission.VIEW, gives=History)
    def get_rollout_history(by: Actor) -> History:
        """The last changes."""
        return History(changes=ours(by).history())

    @api.on("GET", "/rollout/report", needs=Permission.VIEW, query=ReportQuery, gives=RolloutReport)
    def get_rollout_report(by: Actor, query: ReportQuery) -> RolloutReport:
        """What was measured, with each way of hearing; without words of callers."""
        try:
            since = read_since(query.since)
        except Refused as error:
            raise _wrong(error) from None
        return RolloutReport.model_validate(ours(by).report(since))


def _wrong(error: Refused) -> Problem:
    return Problem("invalid", errors=[{"where": "body", "what": str(error)}])
