"""What is done to a TCP connection behind its library's back: gRPC gives no handle to it, the kernel does."""

import ctypes
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_SO_ATTACH_FILTER: Final = 26  # Linux, socket(7)


def tear_down(peer: str) -> None:
    """Abort the TCP connection from `peer` ("ipv4:127.0.0.1:54321")."""
    for copy in _connections(peer):
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        copy.shutdown(socket.SHUT_RDWR)


def cut_off(peer: str) -> None:
    """From now on the kernel drops every packet from `peer` unseen, so it gets no acknowledgement either: as behind a
    cable that was pulled out. A socket filter of one instruction: accept 0 bytes."""
    accept_nothing = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    for copy in _connections(peer):
        program = struct.pack("HP", 1, ctypes.addressof(accept_nothing))
        copy.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _connections(peer: str) -> Iterator[socket.socket]:
    """Our end of the connection from `peer`."""
    port = int(peer.rsplit(":", 1)[1])
    for entry in list(Path("/dev/fd").iterdir()):
        try:
            if not stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode):
                continue
            copy = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue
        with copy, suppress(OSError):
            if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.getpeername()[1] == port:
                yield copy
