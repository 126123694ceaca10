"""A ZIP as it is read, entry by entry: what is in it never lies on a disk, and a long recording never in memory."""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import RawIOBase
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    content: Callable[[], Iterator[bytes]]


class _Pipe(RawIOBase):
    """Takes what `zipfile` writes; not seekable, so that sizes come after the data."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.written += data
        return len(data)

    def taken(self) -> bytes:
        data = bytes(self.written)
        self.written.clear()
        return data


def zipped(entries: Sequence[Entry], at: datetime) -> Iterator[bytes]:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.name, at.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o600 << 16
            with archive.open(info, "w", force_zip64=True) as out:
                for piece in entry.content():
                    out.write(piece)
                    if pipe.written:
                        yield pipe.taken()
    yield pipe.taken()
