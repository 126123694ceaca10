"""The page of figures and its file."""

import csv
import io
from datetime import timedelta

import pytest

from moked.crm.permissions import UserRole
from tests.web.desk_office import DeskOffice, furnish


@pytest.fixture
def desk(engine, tmp_path):
    desk = DeskOffice(engine, tmp_path)
    desk.me = desk.owner()
    desk.web = desk.browser("dana@example.com")
    return desk


def test_figures_of_a_week_beside_the_one_before(desk):
    furnish(desk)
    desk.call("OLD", "+972501112233", ago=timedelta(days=8))
    page = desk.web.get("/analytics").text
    assert "<svg" in page
    assert "+700%" in page  # eight calls after one
    assert "הערכה" in page
    assert "USD" in page
    assert "p95" in page
    for query in ("days=90", "first=2026-11-01&last=2026-11-22", "simulated=1", "days=x&first=2026-13-01&last=no",
                  "first=1999-01-01&last=2099-01-01"):  # fmt: skip
        assert desk.web.get(f"/analytics?{query}").status_code == 200, query
    assert "לא היו שיחות בתקופה" in desk.web.get("/analytics?simulated=1").text


def test_a_business_without_calls(desk):
    assert "לא היו שיחות בתקופה" in desk.web.get("/analytics").text


def test_the_file_has_a_line_a_day_and_opens_in_excel(desk):
    furnish(desk)
    answer = desk.web.get("/analytics.csv?days=7")
    assert answer.mimetype == "text/csv"
    assert "attachment; filename=moked-2026-11-16-2026-11-22.csv" in answer.headers["Content-Disposition"]
    assert answer.data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert rows[0][:2] == ["יום", "שיחות"]
    assert len(rows) == 8
    assert sum(int(row[1]) for row in rows[1:]) == 8


def test_figures_are_for_managers(desk):
    web = desk.browser(desk.person(UserRole.AGENT, desk.me))
    assert web.get("/analytics").status_code == 403
    assert "/analytics" not in web.get("/board").text
