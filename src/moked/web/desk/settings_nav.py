"""The sections of the settings, in their order. A page of a section renders a template that extends
`desk/settings_base.html` with its own name as `part_name`; adding one is a line here and its words
(`settings.nav.<name>`)."""

from dataclasses import dataclass

from flask import current_app

from moked.crm.permissions import Permission


@dataclass(frozen=True, slots=True)
class Section:
    """`endpoint` of the blueprint `desk`; shown to whoever has `needed`, where the endpoint is there."""

    name: str
    endpoint: str
    needed: Permission


SECTIONS = (
    Section("business", "desk.settings_business", Permission.SETTINGS),
    Section("script", "desk.settings_script", Permission.SETTINGS),
    Section("prompt", "desk.settings_prompt", Permission.SETTINGS),
    Section("pronunciation", "desk.settings_pronunciation", Permission.SETTINGS),
    Section("numbers", "desk.settings_numbers", Permission.SETTINGS),
    Section("hearing", "desk.settings_hearing", Permission.SETTINGS),
    Section("users", "desk.users", Permission.USERS),
)


def sections() -> list[Section]:
    """Those this server has."""
    return [section for section in SECTIONS if section.endpoint in current_app.view_functions]
