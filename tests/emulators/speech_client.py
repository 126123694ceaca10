"""A recognition stream of the real Google client, driven from the first message to the last: v1 or v2."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from google.api_core import exceptions


async def exchange(call: Any, first: Any, rest: Sequence[Any], pause_s: float = 0.0) -> list[Any]:
    """Write `first` and, each after a pause, the `rest`. Returns all that was answered; raises what the stream ends
    with."""
    got: list[Any] = []

    async def read() -> None:
        async for response in call:
            got.append(response)

    reader = asyncio.create_task(read())
    try:
        await call.write(first)
        for request in rest:
            await asyncio.sleep(pause_s)
            await call.write(request)
        await call.done_writing()
    except (exceptions.GoogleAPICallError, grpc.RpcError, asyncio.InvalidStateError):
        pass  # the reader tells
    await reader
    return got


def chunks(audio: bytes, size: int = 1200) -> list[bytes]:
    return [audio[at : at + size] for at in range(0, len(audio), size)]
