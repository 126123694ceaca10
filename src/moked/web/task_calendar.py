"""The open tasks of one person, and those that are nobody's yet, as a calendar file."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from moked.crm.audit import Actor
from moked.crm.desk import Desk
from moked.crm.models import Lead, Task, TaskKind
from moked.crm.phone import national
from moked.web.ics import Event, calendar

EVERY = timedelta(minutes=15)
_CALLBACK, _TODO, _NAMELESS = "לחזור אל {who}", "משימה: {who}", "פונה ללא שם"


def task_calendar(desk: Desk, by: Actor, base_url: str) -> bytes:
    """`base_url`: how people reach the desk, without a slash at the end. What is due at midnight has no hour."""
    zone = ZoneInfo(by.timezone)
    found = desk.calendar_tasks(by.business_id, by.user_id)
    events = (_event(task, lead, zone, desk.now(), base_url) for task, lead in found)
    return calendar(f"{by.business}: משימות", by.timezone, events, every=EVERY)


def _event(task: Task, lead: Lead, zone: ZoneInfo, now: datetime, base_url: str) -> Event:
    here = task.due_at.astimezone(zone)
    begins: datetime | date = here.date() if here.time() == time() else here
    title = (_CALLBACK if task.kind is TaskKind.CALLBACK else _TODO).format(who=lead.name or _NAMELESS)
    lines = (national(lead.phone) if lead.phone else "", lead.need, task.note)
    return Event(
        uid=f"task-{task.id}-{int(task.created_at.timestamp())}@moked",
        begins=begins,
        stamp=task.created_at,
        title=title,
        text="\n".join(line for line in lines if line),
        url=f"{base_url}/leads/{lead.id}",
        remind=task.remind_at if task.remind_at is not None and task.remind_at > now else None,
    )
