"""In the inbox a day later: a template is chosen, filled and sent, and who answers is written to freely again."""

from datetime import timedelta

from axe_playwright_python.sync_playwright import Axe

from moked.channels.official import CloudChannel
from moked.channels.templates import Approved, Blank
from moked.crm.sending import rules_of

REMINDER = Approved(
    "reminder", "תזכורת לתור", "שלום {{1}},\nמזכירים שנקבע לך תור ב־{{2}}.", (Blank("שם", "name"), Blank("מועד"))
)
CALL_US = Approved("call_us", "בקשה לחזור אלינו", "ניסינו להשיג אתכם. אפשר לחזור אלינו?")


def test_a_template_is_chosen_filled_and_sent(site):
    office = site.office
    office.owner()
    office.rules["whatsapp"] = rules_of(CloudChannel.caps)
    office.templates[office.business] = (REMINDER, CALL_US)
    talk = office.writes("המזגן בסלון מטפטף")
    office.now += timedelta(hours=26)
    page = site.page("dana@example.com", viewport={"width": 390, "height": 844}, bypass_csp=True)
    page.goto(f"/inbox/{talk}")
    page.get_by_text(REMINDER.title).click()
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    chosen = page.locator("details[open]")
    assert chosen.get_by_label("שם").input_value() == "רותי לוי"
    chosen.get_by_label("מועד").fill("מחר ב-10:00")
    chosen.get_by_role("button").click()
    page.locator("[data-live=said]").get_by_text("שנקבע לך תור ב־מחר ב-10:00").wait_for()
    office.writes("תודה!")
    office.inbox_desk._changed(office.business, talk)
    page.locator("textarea[name=text]").wait_for()
