"""The holidays of Israel by date (pure). The only file that imports `holidays`.

For the gate before what leaves: the days of rest and the two on which nobody should be advertised to, remembrance day
and the ninth of Av.
"""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import holidays

_QUIET_TOO: Final = ("יום הזיכרון", "תשעה באב")


@lru_cache(maxsize=8)
def public(year: int) -> Mapping[date, str]:
    """The days of rest by law."""
    return MappingProxyType(dict(holidays.country_holidays("IL", years=year, language="he").items()))


@lru_cache(maxsize=8)
def rest_days(year: int) -> Mapping[date, str]:
    """Of `year` and the next one: a message late in December may wait into it."""
    years = (year, year + 1)
    found = {**public(year), **public(year + 1)}
    others = holidays.country_holidays("IL", years=years, language="he", categories=("optional", "school"))
    found |= {day: name for day, name in others.items() if any(quiet in name for quiet in _QUIET_TOO)}
    return MappingProxyType(found)
