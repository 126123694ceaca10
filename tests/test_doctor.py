"""The doctor: every finding says what is so and what to do, no secret, and none hides the others."""

import json
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from types import SimpleNamespace

import anyio
import httpx2
import pytest

from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from emulators.receivers import SmtpServer
from moked import doctor, parts
from moked.crm.places import NodeReport
from moked.doctor import Status
from moked.errors import Failure, ProviderError, SettingsError
from moked.settings import Settings
from moked.stt.google import Survey
from moked.stt.google_rules import ModelAnswer

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _http(status=200, body=b"{}", headers=()):
    """A server that gives one answer to everybody; yields its host:port and the requests it saw."""
    seen = []

    async def answer(stream):
        async with stream:
            seen.append((await stream.receive()).decode())
            head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers]
            await stream.send("\r\n".join([*head, "", ""]).encode() + body)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        yield f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}", seen
        tasks.cancel_scope.cancel()


@pytest.fixture
def nowhere():
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def _one(findings, status):
    (finding,) = findings
    assert finding.status is status, finding
    assert bool(finding.what_to_do) == (status is not Status.OK)
    return finding


async def test_google_credentials(tmp_path):
    _one(await doctor.google_credentials(None), Status.OK)
    path = tmp_path / "key.json"
    _one(await doctor.google_credentials(path), Status.FAIL)
    for text in ("not json", "[]", '{"type": "other"}', '{"type": "service_account", "client_email": "x"}'):
        path.write_text(text)
        _one(await doctor.google_credentials(path), Status.FAIL)
    key = {"type": "service_account", "client_email": "a@b", "private_key": "hush", "token_uri": "t", "project_id": "p"}
    path.write_text(json.dumps(key))
    found = _one(await doctor.google_credentials(path), Status.OK)
    assert "project p" in found.detail
    assert "hush" not in found.detail


def _survey(*answers, api="v1", elsewhere=()):
    async def ask():
        return Survey(api, "global", [ModelAnswer(*answer) for answer in answers], elsewhere)

    return ask


async def test_the_recognition_models():
    refused = ("phone_call", False, "not supported for language : iw-IL")
    first, *rest = await doctor.speech_models(_survey(refused, ("default", True), ("", True)))
    assert (first.status, first.detail) == (Status.WARN, "v1, model default: phone_call is refused")
    assert "GCP_STT_MODEL=default" in first.what_to_do
    assert [(f.name, f.status, f.detail) for f in rest] == [
        ("speech model phone_call", "ok", "refused: not supported for language : iw-IL"),
        ("speech model default", "ok", "in use"),
        ("speech model unset", "ok", "accepted"),
    ]
    (first, model) = await doctor.speech_models(_survey(("chirp_3", True, "", frozenset(("words",))), api="v2"))
    assert (first.status, first.detail) == (Status.OK, "v2 in global, model chirp_3")
    assert model.detail == "in use, without words"
    (unset, _, _) = await doctor.speech_models(_survey(refused, ("", True)))
    assert unset.status is Status.OK, "nothing can be set to it"


async def test_no_recognition_model_at_all():
    refused = ("phone_call", False, "no")
    assert "GCP_STT_LANGUAGE" in _one((await doctor.speech_models(_survey(refused)))[:1], Status.FAIL).what_to_do
    found = await doctor.speech_models(_survey(refused, api="v2", elsewhere=[("eu", "chirp_3")]))
    assert "GCP_STT_LOCATION=eu (chirp_3)" in _one(found[:1], Status.FAIL).what_to_do
    found = await doctor.speech_models(_survey(refused, api="v2"))
    assert "GCP_STT_API=v1" in _one(found[:1], Status.FAIL).what_to_do


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (ProviderError("google", Failure.AUTH, "no"), "Enable the Cloud Speech-to-Text API"),
        (ProviderError("google", Failure.QUOTA, "no"), "quota"),
        (ProviderError("google", Failure.CONFIG, "no"), "GCP_PROJECT"),
        (ProviderError("google", Failure.UNAVAILABLE, "no"), "network"),
        (SettingsError("GCP_PROJECT: missing"), "environment"),
    ],
)
async def test_google_that_cannot_be_asked(error, what):
    async def ask():
        raise error

    found = _one(await doctor.speech_models(ask), Status.FAIL)
    assert what in found.what_to_do
    assert found.detail == str(error)
    if isinstance(error, ProviderError):
        assert (
            what.replace("Speech-to-Text", "Text-to-Speech")
            in _one(await doctor.voices(ask, "x"), Status.FAIL).what_to_do
        )


async def test_the_voices():
    async def some():
        return ["he-IL-Wavenet-A", "he-IL-Wavenet-D"]

    async def none():
        return []

    async def unused():
        return None

    _one(await doctor.voices(some, "he-IL-Wavenet-D"), Status.OK)
    assert "he-IL-Wavenet-A" in _one(await doctor.voices(some, "he-IL-Wavenet-Z"), Status.FAIL).what_to_do
    assert "no voice for the language" in _one(await doctor.voices(none, "xx-XX-Y"), Status.FAIL).detail
    assert await doctor.voices(unused, "x") == []
    assert await doctor.speech_models(unused) == []


@pytest.mark.parametrize("streaming", ["true", "false"])
async def test_an_emulated_google_is_asked_what_it_has(monkeypatch, tmp_path, streaming):
    """From the settings to the findings, over the real wire."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    speech, voice = GoogleSpeech(mode="codec"), GoogleTts()
    async with speech.running() as one, voice.serving() as other:
        settings = Settings(
            gcp_stt_api="v2", speech_emulator_host=one, texttospeech_emulator_host=other, enable_streaming_stt=streaming
        )
        models = await doctor.speech_models(partial(parts.ask_google_speech, settings))
        assert [f.name for f in models[1:]] == [
            f"speech model {name}" for name in ("telephony", "long", "chirp_3", "chirp_2", "short")
        ]
        assert models[0].detail == "v2 in global, model long: telephony is refused"
        _one(await doctor.voices(partial(parts.ask_google_voices, settings), settings.tts_voice), Status.OK)
    assert speech.counts["recognize"] == (0 if streaming == "true" else 5)
    assert speech.open_streams == 0


async def test_an_emulator(nowhere):
    assert await doctor.emulator("SPEECH_EMULATOR_HOST", "") == []
    assert (
        "SPEECH_EMULATOR_HOST" in _one(await doctor.emulator("SPEECH_EMULATOR_HOST", nowhere), Status.FAIL).what_to_do
    )
    async with _http() as (address, _):
        _one(await doctor.emulator("SPEECH_EMULATOR_HOST", address), Status.OK)


async def test_the_language_model(nowhere):
    _one(await doctor.language_model("", "", "m"), Status.OK)
    _one(await doctor.language_model(f"http://{nowhere}/v1", "", "m"), Status.FAIL)
    body = json.dumps({"data": [{"id": "models/m"}]}).encode()
    async with _http(200, body) as (address, seen):
        _one(await doctor.language_model(f"http://{address}/v1", "hush", "m"), Status.OK)
        found = _one(await doctor.language_model(f"http://{address}/v1", "hush", "other"), Status.WARN)
        assert "such as m" in found.what_to_do
        assert seen[0].startswith("GET /v1/models ")
        assert "authorization: bearer hush" in seen[0].lower()
    for status, expected in ((401, Status.FAIL), (403, Status.FAIL), (404, Status.WARN), (200, Status.OK)):
        async with _http(status, b"odd") as (address, _):
            found = _one(await doctor.language_model(f"http://{address}/v1", "hush", "m"), expected)
            assert "hush" not in repr(found)


async def test_the_whisper_model(nowhere, tmp_path):
    _one(await doctor.whisper("", "", "base", used=False), Status.OK)
    found = _one(await doctor.whisper("", "", "base"), Status.WARN)
    assert "WHISPER_BASE_URL" in found.what_to_do
    _one(await doctor.whisper("", "", "ivrit-ai/whisper-large-v3-turbo-ct2"), Status.OK)
    found = _one(await doctor.whisper("", "", str(tmp_path / "absent")), Status.FAIL)
    assert "no such folder" in found.detail
    assert "WHISPER_MODEL" in found.what_to_do
    found = _one(await doctor.whisper("", "", str(tmp_path)), Status.FAIL)
    assert "model.bin" in found.detail
    found = _one(await doctor.whisper(f"http://{nowhere}/v1", "", "m"), Status.FAIL)
    assert "WHISPER_BASE_URL" in found.what_to_do
    async with _http(200, json.dumps({"data": [{"id": "whisper-he"}]}).encode()) as (address, _):
        _one(await doctor.whisper(f"http://{address}/v1", "hush", "whisper-he"), Status.OK)
        found = _one(await doctor.whisper(f"http://{address}/v1", "hush", "base"), Status.WARN)
        assert "WHISPER_MODEL to one it has, such as whisper-he" in found.what_to_do
    async with _http(401, b"no") as (address, _):
        found = _one(await doctor.whisper(f"http://{address}/v1", "hush", "m"), Status.FAIL)
        assert "WHISPER_API_KEY" in found.what_to_do
        assert "hush" not in repr(found)


async def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(doctor, "TIMEOUT_S", 0.1)

    async def silent(stream):
        async with stream:
            await anyio.sleep_forever()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, silent)
        url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        with anyio.fail_after(2):
            _one(await doctor.language_model(url, "k", "m"), Status.FAIL)
        tasks.cancel_scope.cancel()


async def test_twilio_keys():
    good_sid, good_token = "AC" + "0a" * 16, "0b" * 16
    _one(await doctor.twilio_keys("", ""), Status.WARN)
    assert good_sid not in _one(await doctor.twilio_keys(good_sid, good_token), Status.OK).detail
    assert good_token not in repr(await doctor.twilio_keys("SK" + "0a" * 16, good_token))
    assert "Account SID" in _one(await doctor.twilio_keys("SK" + "0a" * 16, good_token), Status.FAIL).what_to_do
    assert "Auth Token" in _one(await doctor.twilio_keys(good_sid, ""), Status.FAIL).what_to_do
    assert len(await doctor.twilio_keys("x", "y")) == 2


async def test_the_webhook(nowhere):
    async def names(url):
        return {finding.name: finding.status for finding in await doctor.webhook(url)}

    assert await names("") == {"webhook": Status.WARN, "clock": Status.WARN}
    assert await names(f"http://{nowhere}") == {"webhook": Status.FAIL, "clock": Status.WARN}
    async with _http() as (address, seen):
        assert await names(f"http://{address}") == {"webhook": Status.OK, "clock": Status.WARN}
        assert seen[0].startswith("GET /healthz ")
    async with _http(502) as (address, _):
        assert (await names(f"http://{address}"))["webhook"] is Status.FAIL


async def test_the_public_server_and_the_clock(monkeypatch):
    client = httpx2.AsyncClient

    def answer(request):
        date = format_datetime(datetime.now(UTC) + timedelta(minutes=5))
        return httpx2.Response(200, headers={"date": date})

    monkeypatch.setattr(doctor.httpx2, "AsyncClient", lambda **_: client(transport=httpx2.MockTransport(answer)))
    insecure, reachable, clock = await doctor.webhook("http://phone.example.com")
    assert (insecure.status, reachable.status, clock.status) == (Status.FAIL, Status.OK, Status.FAIL)
    assert "behind" in clock.detail
    reachable, clock = await doctor.webhook("https://phone.example.com")
    assert (reachable.status, clock.status) == (Status.OK, Status.FAIL)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Sun, 22 Nov 2026 11:51:30 GMT", Status.OK),
        ("Sun, 22 Nov 2026 11:52:30 GMT", Status.FAIL),
        ("Sun, 22 Nov 2026 11:50:30 GMT", Status.FAIL),
        ("", Status.WARN),
        ("yesterday", Status.WARN),
        ("Sun, 22 Nov 2026 11:51:30 -0000", Status.WARN),
    ],
)
def test_the_clock(header, status):
    unseen = doctor._warn("clock", detail="", what_to_do="")
    assert doctor.clock(header, datetime(2026, 11, 22, 11, 51, 40, tzinfo=UTC), otherwise=unseen).status is status


async def test_the_port(nowhere, monkeypatch):
    monkeypatch.setattr(doctor, "TIMEOUT_S", 0.2)
    host, number = nowhere.split(":")
    _one(await doctor.port(host, int(number)), Status.OK)
    with socket.create_server((host, int(number))):
        _one(await doctor.port(host, int(number)), Status.FAIL)
    async with _http(503, b'{"ready": false, "waiting_for": {"voice": "1 of 2 phrases"}}') as (ours, _):
        assert "Moked" in _one(await doctor.port(host, int(ours.rpartition(":")[2])), Status.OK).detail
    async with _http(200, b"[]") as (another, _):
        _one(await doctor.port(host, int(another.rpartition(":")[2])), Status.FAIL)
    _one(await doctor.port("no host", 80), Status.FAIL)
    _one(await doctor.port("192.0.2.1", 8080), Status.FAIL)


async def test_weights_disk_audio_and_node(tmp_path, monkeypatch):
    found = await doctor.model_weights(["silero-vad", "kokoro"], tmp_path)
    assert [(f.name, f.status) for f in found] == [("weights silero-vad", "fail"), ("weights kokoro", "fail")]
    _one(await doctor.disk({"DATA_DIR": tmp_path / "not" / "yet", "MODELS_DIR": tmp_path}), Status.OK)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=500_000_000))
    _one(await doctor.disk({"DATA_DIR": tmp_path}), Status.WARN)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    _one(await doctor.disk({"DATA_DIR": tmp_path}), Status.FAIL)
    _one(await doctor.audio_parts(), Status.OK)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    _one(await doctor.audio_parts(), Status.FAIL)
    program = tmp_path / "node"
    monkeypatch.setattr(doctor.shutil, "which", lambda _: str(program))
    for version, status in (("v22.1.0", Status.OK), ("v18.0.0", Status.WARN), ("", Status.WARN)):
        program.write_text(f"#!/bin/sh\necho {version}\n")
        program.chmod(0o755)
        _one(await doctor.node(), status)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    _one(await doctor.node(), Status.OK)


async def test_the_database():
    def fails():
        raise RuntimeError("cannot connect to postgresql://moked:hush@db")

    def state(current):
        return lambda: SimpleNamespace(current=current, head="0002")

    assert "hush" not in repr(_one(await doctor.database(fails), Status.FAIL))
    _one(await doctor.database(state(None)), Status.OK)
    _one(await doctor.database(state("0001")), Status.WARN)
    _one(await doctor.database(state("0002")), Status.OK)


async def test_redis():
    async def answers(url):
        assert url == "redis://r"

    async def dead(url):
        raise ProviderError("redis", Failure.UNAVAILABLE, "no")

    async def not_installed(url):
        raise ImportError("redis")

    assert await doctor.redis("", dead) == []
    _one(await doctor.redis("redis://r", answers), Status.OK)
    _one(await doctor.redis("redis://r", dead), Status.FAIL)
    _one(await doctor.redis("redis://r", not_installed), Status.FAIL)


async def test_a_check_that_breaks_is_a_finding_and_the_order_stays():
    async def slow():
        await anyio.sleep(0.02)
        return [doctor._ok("slow", detail="")]

    async def broken():
        raise KeyError("x")

    async def nothing():
        return []

    found = await doctor.examine([("slow", slow), ("broken", broken), ("nothing", nothing), ("slow", slow)])
    assert [(f.name, f.status) for f in found] == [("slow", "ok"), ("broken", "fail"), ("slow", "ok")]


async def test_checks_run_side_by_side_but_not_all_at_once():
    running = []
    peak = []

    async def check():
        running.append(1)
        peak.append(len(running))
        await anyio.sleep(0.01)
        running.pop()
        return []

    await doctor.examine([("x", check)] * 12)
    assert max(peak) == doctor.AT_ONCE


async def test_settings_choose_the_checks(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)

    async def ping(url):
        raise AssertionError("no Redis is set")

    def schema():
        return SimpleNamespace(current=None, head="1")

    needed = ["silero-vad", "kokoro"]
    settings = Settings(models_dir=tmp_path, port=1)
    checks = doctor.checks_for(
        settings,
        needed_weights=needed,
        schema=schema,
        redis_ping=ping,
        google_speech=partial(parts.ask_google_speech, settings),
        google_voices=partial(parts.ask_google_voices, settings),
        media=lambda: (),
        jobs=dict,
        others=dict,
    )
    found = await doctor.examine(checks)
    names = [finding.name for finding in found]
    assert [name for name in names if name.startswith("weights")] == ["weights silero-vad", "weights kokoro"]
    assert {"settings", "google", "twilio", "webhook", "clock", "port 1", "database", "disk of DATA_DIR"} <= set(names)
    assert not any("could not be checked:" in finding.detail for finding in found)


def test_bad_settings_are_findings():
    found = doctor.bad_settings(SettingsError("PORT: wrong\nTTS_RATE: wrong"))
    assert [(f.status, f.detail) for f in found] == [("fail", "PORT: wrong"), ("fail", "TTS_RATE: wrong")]


async def test_media_processes_are_shown_as_they_report():
    reports = [
        NodeReport("a-1", "ws://h/media/1/twilio", 60, active=12, lag_ms=3),
        NodeReport("a-2", "ws://h/media/2/twilio", 60, active=60, lag_ms=80, accepting=False),
        NodeReport("a-3", "ws://h/media/3/twilio", 60, active=1, draining=True),
    ]
    found = await doctor.media_processes(lambda: reports)
    assert [finding.status for finding in found] == ["ok", "warn", "ok"]
    assert found[0].detail == "12 of 60 calls, lag 3 ms, at ws://h/media/1/twilio"
    assert "MEDIA_PROCESSES" in found[1].what_to_do

    def away():
        raise OSError

    assert await doctor.media_processes(away) == []


async def test_work_after_calls_that_failed_or_that_nobody_does():
    async def found(**counts):
        return await doctor.work_after_calls(lambda: counts)

    assert (await found(waiting=1, workers=2))[0].detail == "1 open, 2 workers"
    (failed,) = await found(waiting=1, failed=3, workers=1)
    assert (failed.status, failed.detail) == ("warn", "3 failed for good, 1 open")
    (alone,) = await found(waiting=2, workers=0)
    assert alone.status == "warn"
    assert "--role worker" in alone.what_to_do

    def away():
        raise OSError

    assert await doctor.work_after_calls(away) == []


async def test_the_mail_server_is_knocked_at():
    with SmtpServer().running() as smtp:
        (fine,) = await doctor.mail_server("127.0.0.1", smtp.port, "moked@example.com", "none")
        assert (fine.status, fine.detail) == ("ok", f"127.0.0.1:{smtp.port} answers")
        assert (await doctor.mail_server("127.0.0.1", smtp.port, "", "none"))[0].status == "fail"
        (wrong,) = await doctor.mail_server("127.0.0.1", smtp.port, "moked@example.com", "tls")
        assert "SMTP_SECURITY" in wrong.what_to_do
    (away,) = await doctor.mail_server("127.0.0.1", 1, "moked@example.com", "none")
    assert away.status == "fail"
    assert (await doctor.mail_server("", 587, "", "none"))[0].status == "ok"


async def test_a_further_business_whose_profile_is_broken_is_named():
    assert await doctor.businesses(dict) == []
    _one(await doctor.businesses(lambda: {"clinic": "", "haifa": ""}), Status.OK)
    broken = _one(
        await doctor.businesses(lambda: {"clinic": "", "haifa": "profile, line 3: name is missing"}), Status.FAIL
    )
    assert (broken.name, "line 3" in broken.detail) == ("business haifa", True)
    assert await doctor.businesses(lambda: {}["no database"]) == []
