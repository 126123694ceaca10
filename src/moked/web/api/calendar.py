"""One's tasks for calendar programs, which ask again and again and know names and passwords alone."""

from moked.crm.audit import Actor
from moked.crm.permissions import Permission
from moked.web.api.layer import Api, File
from moked.web.parts import ApiParts
from moked.web.task_calendar import task_calendar

PATH = "/calendar.ics"


def add(api: Api, parts: ApiParts) -> None:
    """`/calendar.ics`."""

    @api.on("GET", PATH, needs=Permission.CALENDAR, gives=None, media="text/calendar")
    def get_calendar(by: Actor) -> File:
        """Open tasks as a calendar (RFC 5545).

        They are those of whoever made the key, and those that are nobody's. A calendar program is given this address,
        any name, and the key as password.
        """
        return File(task_calendar(parts.desk, by, parts.base_url()), "moked.ics")
