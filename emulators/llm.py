"""An OpenAI-compatible language model for development and tests: `POST /v1/chat/completions`, streamed, and
`/v1/models`.

It speaks the real wire to the real client. What it says is a Python function of the request (a *brain*); the default
one runs a short Hebrew intake with tools, so that whole calls can be held against it. Delays and faults are data:
`first_token_ms`, `tokens_per_s`, and a queue of `Fault`s, one for each coming request.

    python -m emulators.llm --port 4020 --first-token-ms 250
"""

import argparse
import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model does: say something, call tools, or both."""

    text: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """One request's trouble. `status`: refuse with it; `stall_after`: fall silent after so many tokens; `cut_after`:
    drop the connection then; `garbage`: send what is no JSON."""

    status: int = 0
    stall_after: int | None = None
    cut_after: int | None = None
    garbage: bool = False


Brain = Callable[[dict[str, Any]], Answer]


@dataclass
class LlmEmulator:
    """The server's state. `quirks='gemini'`: tool calls without index, each in its own chunk, finish 'stop'."""

    brain: Brain | None = None
    first_token_ms: int = 250
    tokens_per_s: float = 50.0
    api_key: str = ""
    quirks: str = ""
    usage: int = 0  # tokens told at the end of each answer; 0: this server tells nothing
    faults: deque[Fault] = field(default_factory=deque)
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=200))
    served: int = 0
    cancelled: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/models", self._models),
            ]
        )

    def _refused(self, request: Request) -> Response | None:
        if self.api_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return JSONResponse({"error": {"message": "Incorrect API key provided", "type": "auth"}}, 401)
        return None

    async def _models(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse(
            {"object": "list", "data": [{"id": "emulated", "object": "model"}]}
        )

    async def _complete(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        body = await request.json()
        self.requests.append(body)
        fault = self.faults.popleft() if self.faults else Fault()
        if fault.status:
            return JSONResponse({"error": {"message": f"emulated {fault.status}", "type": "emulated"}}, fault.status)
        answer = (self.brain or intake)(body)
        return StreamingResponse(self._stream(answer, fault, body.get("model", "")), media_type="text/event-stream")

    async def _stream(self, answer: Answer, fault: Fault, model: str) -> AsyncIterator[bytes]:
        done = False
        try:
            await asyncio.sleep(self.first_token_ms / 1000)
            tokens = re.findall(r"\S+\s*", answer.text)
            for count, token in enumerate(tokens):
                if fault.cut_after == count:
                    raise ConnectionResetError("emulated cut")
                if fault.stall_after == count:
                    await asyncio.sleep(60)
                if fault.garbage:
                    yield b"data: {not json\n\n"
                yield _chunk(model, {"content": token})
                if count + 1 < len(tokens):
                    await asyncio.sleep(1 / self.tokens_per_s)
            for index, (name, arguments) in enumerate(answer.calls):
                for delta in self._call_deltas(index, name, json.dumps(arguments, ensure_ascii=False)):
                    yield _chunk(model, {"tool_calls": [delta]})
            finish = "tool_calls" if answer.calls and self.quirks != "gemini" else "stop"
            yield _chunk(model, {}, finish)
            if self.usage:
                yield _chunk(model, None, usage=self.usage)
            yield b"data: [DONE]\n\n"
            done = True
            self.served += 1
        finally:
            self.cancelled += not done

    def _call_deltas(self, index: int, name: str, arguments: str) -> list[dict[str, Any]]:
        if self.quirks == "gemini":
            return [
                {
                    "index": 0,
                    "id": f"function-call-{index + 1}",
                    "type": "function",
                    "function": {"name": name, "arguments": arguments},
                    "extra_content": {"google": {"thought_signature": f"sig-{index}"}},
                }
            ]
        half = len(arguments) // 2
        return [
            {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}},
            {"index": index, "function": {"arguments": arguments[:half]}},
            {"index": index, "function": {"arguments": arguments[half:]}},
        ]


def _chunk(model: str, delta: dict[str, Any] | None, finish: str | None = None, usage: int = 0) -> bytes:
    """`delta` None: a chunk without choices, as the one that tells the usage."""
    body: dict[str, Any] = {
        "id": "chatcmpl-emulated",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": model,
        "choices": [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": usage - 1, "completion_tokens": 1, "total_tokens": usage}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


_PHONE = re.compile(r"0\d[\d\- ]{7,11}")


def intake(body: dict[str, Any]) -> Answer:
    """The default brain: need, name, phone, goodbye; saves what it hears with `save_lead`."""
    messages = body["messages"]
    after_tool = messages[-1]["role"] == "tool"
    turns = [m["content"] for m in messages if m["role"] == "user"]
    last = turns[-1] if turns else ""
    step = len(turns)
    phone = _PHONE.search(last)
    if not after_tool:
        if phone:
            return Answer("רשמתי את המספר, תודה. ", (("save_lead", {"phone": phone[0], "phone_confirmed": True}),))
        if step == 1:
            return Answer("הבנתי, אני אעזור בזה. ", (("save_lead", {"need": last}),))
        if step == 2:
            return Answer("נעים מאוד. ", (("save_lead", {"name": last.split()[-1]}),))
        return Answer("תודה שהתקשרתם, נחזור אליכם בהקדם. להתראות.", (("end_call", {"reason": "done"}),))
    if any(call["function"]["name"] == "end_call" for m in messages for call in m.get("tool_calls") or ()):
        return Answer("")
    if step == 1:
        return Answer("מה השם בבקשה?")
    if step == 2:
        return Answer("מה מספר הטלפון לחזרה?")
    return Answer("מתי נוח לכם שנחזור?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4020)
    parser.add_argument("--first-token-ms", type=int, default=250)
    parser.add_argument("--tokens-per-s", type=float, default=50.0)
    options = parser.parse_args()
    emulator = LlmEmulator(first_token_ms=options.first_token_ms, tokens_per_s=options.tokens_per_s)
    uvicorn.run(emulator.app(), host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
