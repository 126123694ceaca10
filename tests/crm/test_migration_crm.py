"""What was on record before there was an index of words is found after the upgrade."""

import pytest
from alembic import command

from moked.crm import db
from tests.databases import KINDS, postgres_schema
from tests.web.desk_office import DeskOffice, furnish


@pytest.fixture(params=KINDS)
def own_url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/moked.db"
    else:
        with postgres_schema() as url:
            yield url


def test_old_rows_are_indexed_and_have_their_addresses(own_url, tmp_path):
    engine = db.connect(own_url)
    db.migrate(engine)
    office = DeskOffice(engine, tmp_path)
    furnish(office)
    with engine.begin() as connection:
        config = db._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0007_access")
    assert db.schema_state(engine).current == "0007_access"
    db.migrate(engine)
    found = office.desk.find(office.business, "לרותי לוי")
    assert (len(found.leads), len(found.contacts)) == (1, 1)
    assert office.crm.contact_by_phone("+972502345678", office.business).name == "רותי לוי"
    left = office.call("CA60", "+972502345678")
    assert left.contact_id == found.contacts[0].row.id
    engine.dispose()
