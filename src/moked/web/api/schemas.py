"""What all resources share: strict input, lists in pages, times in UTC."""

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from moked.crm.listing import After, Slice
from moked.web.api import cursors
from moked.web.api.problems import Problem

Id = Annotated[int, Field(ge=0, le=2**31 - 1)]
Item = TypeVar("Item", bound=BaseModel)


class In(BaseModel):
    """What comes in: a name nobody knows is a mistake, not nothing."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Out(BaseModel):
    """What goes out, read from a row."""

    model_config = ConfigDict(from_attributes=True)


class PageQuery(In):
    cursor: str | None = Field(None, description="`next` of the page before", max_length=200)
    limit: int = Field(50, description="Items on a page", ge=1, le=200)

    @property
    def after(self) -> After | None:
        if self.cursor is None:
            return None
        try:
            return cursors.read(self.cursor)
        except ValueError:
            raise Problem("bad_cursor") from None


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next: str | None = Field(description="Where the next page begins; null at the end")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        return f"{params[0].__name__}Page"


def page_of(kind: type[Item], found: Slice[Any]) -> Page[Item]:
    return Page[kind](  # type: ignore[valid-type]
        items=[kind.model_validate(row) for row in found.rows], next=cursors.write(found.after)
    )


Moment = datetime
Since = AwareDatetime
