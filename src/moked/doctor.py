"""What `moked doctor` looks at. Each check returns findings that say what is so, and what to do about it.

Nothing here prints or changes anything, and no finding holds a secret. Checks take plain values; `checks_for` makes
the list from the settings, and `examine` runs them side by side.
"""

import ipaddress
import json
import re
import shutil
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2

from moked import weights
from moked.errors import Failure, ModelError, ProviderError, SettingsError
from moked.stt.whisper_models import RECOMMENDED, advice, is_folder, problem_with

if TYPE_CHECKING:
    from moked.crm.places import NodeReport
    from moked.settings import Settings
    from moked.stt.google import Survey

TIMEOUT_S: Final = 3.0
AT_ONCE: Final = 4
MAX_CLOCK_SKEW_S: Final = 30
MIN_FREE_MB: Final = 200
GOOD_FREE_MB: Final = 2000


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what_to_do` is empty when nothing has to be done."""

    name: str
    status: Status
    detail: str
    what_to_do: str = ""


class Schema(Protocol):
    """The state of the tables: the revision they are at (None for an empty database) and the one wanted."""

    @property
    def current(self) -> str | None: ...

    @property
    def head(self) -> str: ...


Check = Callable[[], Awaitable[Sequence[Finding]]]

_ok = partial(Finding, status=Status.OK)
_warn = partial(Finding, status=Status.WARN)
_fail = partial(Finding, status=Status.FAIL)


async def examine(checks: Sequence[tuple[str, Check]]) -> list[Finding]:
    """Run the checks, `AT_ONCE` at a time. Findings come in the order of the checks."""
    found: list[Sequence[Finding]] = [()] * len(checks)
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def run(number: int, name: str, check: Check) -> None:
        async with limit:
            try:
                found[number] = await check()
            except Exception as error:  # a sick installation must not keep the other findings from being seen
                detail = f"this could not be checked: {type(error).__name__}: {error}"
                found[number] = [_fail(name, detail=detail, what_to_do="Report this as a defect of Moked.")]

    async with anyio.create_task_group() as tasks:
        for number, (name, check) in enumerate(checks):
            tasks.start_soon(run, number, name, check)
    return [finding for findings in found for finding in findings]


def checks_for(
    settings: "Settings",
    *,
    needed_weights: Sequence[str],
    schema: Callable[[], Schema],
    redis_ping: Callable[[str], Awaitable[None]],
    google_speech: Callable[[], Awaitable["Survey | None"]],
    google_voices: Callable[[], Awaitable[Sequence[str] | None]],
    media: Callable[[], Sequence["NodeReport"]],
    jobs: Callable[[], Mapping[str, int]],
    others: Callable[[], Mapping[str, str]],
) -> list[tuple[str, Check]]:
    """The checks that these settings call for.

    `schema` reaches the database (`crm.db.schema_state`), `media` reads there which media processes report, `jobs` how
    many jobs there are, by state, and 'workers', `others` what is wrong with further businesses' profiles, by key;
    `google_speech` and `google_voices` ask Google (`parts.ask_google_...`) and give None where it does not serve.
    """
    s = settings
    key = s.openai_api_key.get_secret_value() if s.openai_api_key else ""
    credentials = s.google_application_credentials
    whisper_key = s.whisper_api_key.get_secret_value() if s.whisper_api_key else ""
    whisper_used = s.stt_fallback == "whisper" or not (credentials or s.speech_emulator_host)
    token = s.twilio_auth_token.get_secret_value() if s.twilio_auth_token else ""
    google = bool(credentials or (s.speech_emulator_host and s.texttospeech_emulator_host))
    return [
        ("settings", partial(_settings, s.warnings)),
        ("google", partial(google_credentials, credentials, replaced=google)),
        ("speech emulator", partial(emulator, "SPEECH_EMULATOR_HOST", s.speech_emulator_host)),
        ("voice emulator", partial(emulator, "TEXTTOSPEECH_EMULATOR_HOST", s.texttospeech_emulator_host)),
        ("google speech", partial(speech_models, google_speech)),
        ("google voice", partial(voices, google_voices, s.tts_voice)),
        ("whisper", partial(whisper, s.whisper_base_url, whisper_key, s.whisper_model, used=whisper_used)),
        ("language model", partial(language_model, s.openai_base_url, key, s.llm_model)),
        ("twilio", partial(twilio_keys, s.twilio_account_sid, token)),
        ("webhook", partial(webhook, s.public_base_url)),
        ("port", partial(port, s.host, s.port)),
        ("weights", partial(model_weights, needed_weights, s.models_root)),
        ("database", partial(database, schema)),
        ("businesses", partial(businesses, others)),
        ("media processes", partial(media_processes, media)),
        ("work after calls", partial(work_after_calls, jobs)),
        ("mail", partial(mail_server, s.smtp_host, s.smtp_port, s.mail_sender, s.smtp_security)),
        ("redis", partial(redis, s.redis_url, redis_ping)),
        ("disk", partial(disk, {"DATA_DIR": s.data_dir, "MODELS_DIR": s.models_root})),
        ("audio", audio_parts),
        ("node", node),
    ]


async def _settings(warnings: Sequence[str]) -> list[Finding]:
    if not warnings:
        return [_ok("settings", detail="valid")]
    return [_warn("settings", detail=line, what_to_do="Correct the line in .env or remove it.") for line in warnings]


def bad_settings(error: SettingsError) -> list[Finding]:
    """The findings when the settings do not even load; nothing else can be checked then."""
    what = "Correct it in the environment or in .env; docs/reference/settings.md has them all."
    return [_fail("settings", detail=line, what_to_do=what) for line in str(error).splitlines()]


# --- what Moked talks to --------------------------------------------------------------------------------------------

_KEY_FIELDS: Final = {
    "service_account": ("client_email", "private_key", "token_uri"),
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
    "external_account": ("audience", "subject_token_type", "token_url", "credential_source"),
}


async def google_credentials(path: Path | None, *, replaced: bool = False) -> list[Finding]:
    """The key file is there and is what Google issues. Whether Google accepts it, the checks below find out."""
    if path is None:
        detail = "not used: emulators are set" if replaced else "not used: Moked hears and speaks on its own models"
        return [_ok("google", detail=detail)]
    again = "Download the service account's JSON key from the Google Cloud console again."
    try:
        key = json.loads(await anyio.Path(path).read_text("utf-8"))
    except OSError as error:
        what = "Set GOOGLE_APPLICATION_CREDENTIALS to a file that this user can read."
        return [_fail("google", detail=f"{path} cannot be read: {error.strerror}", what_to_do=what)]
    except ValueError:
        return [_fail("google", detail=f"{path} is not JSON", what_to_do=again)]
    kind = key.get("type") if isinstance(key, dict) else None
    if kind not in _KEY_FIELDS:
        return [_fail("google", detail=f"{path} is no Google credential (type {kind!r})", what_to_do=again)]
    if missing := [name for name in _KEY_FIELDS[kind] if not key.get(name)]:
        return [_fail("google", detail=f"{path} lacks {', '.join(missing)}", what_to_do=again)]
    project = f", project {key['project_id']}" if key.get("project_id") else ""
    return [_ok("google", detail=f"{kind} key{project}")]


async def speech_models(ask: Callable[[], Awaitable["Survey | None"]]) -> list[Finding]:
    """Which recognition models Google takes for the language, in its own words. No finding where it is not used."""
    name = "google speech"
    try:
        survey = await ask()
    except SettingsError as error:
        return [_fail(name, detail=str(error), what_to_do="Correct it in the environment or in .env.")]
    except ProviderError as error:
        return [_fail(name, detail=str(error), what_to_do=_what_to_do_about(error, "Speech-to-Text"))]
    if survey is None:
        return []
    where = survey.api if survey.api == "v1" else f"{survey.api} in {survey.location}"
    first, works = survey.answers[0], next((answer for answer in survey.answers if answer.accepted), None)
    if works is None:
        what = "Set GCP_STT_API=v1, or a model of your language in GCP_STT_MODEL."
        if survey.elsewhere:
            what = f"Set {' or '.join(f'GCP_STT_LOCATION={place} ({model})' for place, model in survey.elsewhere)}."
        elif survey.api == "v1":
            what = "Check GCP_STT_LANGUAGE. Until then calls are heard by the fallback."
        found = [_fail(name, detail=f"{where}: no model is taken", what_to_do=what)]
    elif works is first or not works.model:
        found = [_ok(name, detail=f"{where}, model {_model(works.model)}")]
    else:
        detail = f"{where}, model {works.model}: {first.model} is refused"
        what = f"To skip the question at each start, set GCP_STT_MODEL={works.model}."
        found = [_warn(name, detail=detail, what_to_do=what)]
    for answer in survey.answers:
        used = "in use" if answer is works else "accepted"
        lacks = f", without {', '.join(sorted(answer.without))}" if answer.without else ""
        detail = f"{used}{lacks}" if answer.accepted else f"refused: {answer.words}"
        found.append(_ok(f"speech model {_model(answer.model)}", detail=detail))
    return found


def _model(name: str) -> str:
    return name or "unset"


async def voices(ask: Callable[[], Awaitable[Sequence[str] | None]], wanted: str) -> list[Finding]:
    """The voice is among those Google has for its language. No finding where Google does not speak."""
    name = "google voice"
    try:
        there = await ask()
    except ProviderError as error:
        return [_fail(name, detail=str(error), what_to_do=_what_to_do_about(error, "Text-to-Speech"))]
    if there is None:
        return []
    listed = ", ".join(there)
    if wanted in there:
        return [_ok(name, detail=f"{wanted} is one of {len(there)}: {listed}")]
    if not there:
        what = "Begin TTS_VOICE with a language Google speaks, such as he-IL-Wavenet-D."
        return [_fail(name, detail=f"Google has no voice for the language of {wanted}", what_to_do=what)]
    return [_fail(name, detail=f"Google has no voice {wanted}", what_to_do=f"Set TTS_VOICE to one of {listed}.")]


def _what_to_do_about(error: ProviderError, api: str) -> str:
    match error.kind:
        case Failure.AUTH:
            return f"Enable the Cloud {api} API for the project, and give the service account the right to use it."
        case Failure.QUOTA:
            return f"Raise the project's quota of the Cloud {api} API, or wait a minute."
        case Failure.CONFIG:
            return "Correct what it names: GCP_PROJECT, GCP_STT_LOCATION, GCP_STT_LANGUAGE or TTS_VOICE."
        case _:
            return "Check the network and the firewall. Until then calls use the fallback."


async def emulator(variable: str, host_port: str) -> list[Finding]:
    """Something listens at the emulator's address. No finding when none is set."""
    if not host_port:
        return []
    host, _, number = host_port.rpartition(":")
    try:
        with anyio.fail_after(TIMEOUT_S):
            await (await anyio.connect_tcp(host.strip("[]"), int(number))).aclose()
    except (OSError, TimeoutError):
        what = f"Start the emulator, or remove {variable}."
        return [_fail(variable, detail=f"nothing answers at {host_port}", what_to_do=what)]
    return [_ok(variable, detail=f"answers at {host_port}")]


async def whisper(base_url: str, key: str, model: str, *, used: bool = True) -> list[Finding]:
    """The model can be loaded, as far as can be seen without doing it; or the server is there and has it."""
    name = "whisper"
    if not used:
        return [_ok(name, detail="not used: STT_FALLBACK is none")]
    if base_url:
        return [
            await _openai_server(name, base_url, key, model, ("WHISPER_BASE_URL", "WHISPER_API_KEY", "WHISPER_MODEL"))
        ]
    if model == "base":
        what = f"For real calls in Hebrew set WHISPER_MODEL={RECOMMENDED} (a GPU or many cores) or WHISPER_BASE_URL."
        return [_warn(name, detail="the embedded base model, which understands Hebrew badly", what_to_do=what)]
    if problem := await anyio.to_thread.run_sync(problem_with, model):
        return [_fail(name, detail=f"WHISPER_MODEL {model}: {problem}", what_to_do=f"{advice(model)}.")]
    better = "" if model == RECOMMENDED or is_folder(model) else f" ({RECOMMENDED} is made for Hebrew)"
    where = "a whole model" if is_folder(model) else "a name; it is fetched at the first start where it is not here"
    return [_ok(name, detail=f"WHISPER_MODEL {model}: {where}{better}")]


async def language_model(base_url: str, key: str, model: str) -> list[Finding]:
    """The server is there, takes the key and has the model."""
    name = "language model"
    if not base_url and not key:
        return [_ok(name, detail="not set: the scripted agent talks")]
    url = base_url or "https://api.openai.com/v1"
    finding = await _openai_server(name, url, key, model, ("OPENAI_BASE_URL", "OPENAI_API_KEY", "LLM_MODEL"))
    return [finding]


async def _openai_server(name: str, url: str, key: str, model: str, settings: tuple[str, str, str]) -> Finding:
    """An OpenAI-compatible server: it answers, takes the key and lists the model. `settings`: of URL, key and model."""
    url_setting, key_setting, model_setting = settings
    host = urlsplit(url).netloc.rpartition("@")[2]
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:
            answer = await client.get(f"{url}/models", headers={"Authorization": f"Bearer {key}"} if key else {})
    except httpx2.HTTPError as error:
        what = f"Check {url_setting} and the network: {_WITHOUT[name]}"
        return _fail(name, detail=f"{host} does not answer ({type(error).__name__})", what_to_do=what)
    if answer.status_code in {401, 403}:
        what = f"Put a valid key into {key_setting}."
        return _fail(name, detail=f"{host} refuses the key (HTTP {answer.status_code})", what_to_do=what)
    if answer.status_code != 200:
        what = f"Check {url_setting}: most servers want it to end in /v1."
        return _warn(name, detail=f"{host} answers /models with HTTP {answer.status_code}", what_to_do=what)
    models = _model_names(answer)
    if models and model not in models:
        what = f"Set {model_setting} to one it has, such as {min(models)}."
        return _warn(name, detail=f"{host} does not list the model {model}", what_to_do=what)
    return _ok(name, detail=f"{host} takes the key; model {model}")


_WITHOUT: Final = {
    "language model": "without the model callers hear an apology, then a way on.",
    "whisper": "without the server calls are heard by the next engine, or not at all.",
}


def _model_names(answer: httpx2.Response) -> set[str]:
    """Gemini's endpoint writes "models/name" and takes the bare name."""
    try:
        listed: Any = answer.json()["data"]
        return {str(item["id"]).removeprefix("models/") for item in listed}
    except (ValueError, KeyError, TypeError):
        return set()


async def twilio_keys(account_sid: str, auth_token: str) -> list[Finding]:
    """The keys have the form Twilio gives them. (Not tried: a wrong token is refused at the first webhook.)"""
    if not account_sid and not auth_token:
        what = "For real calls set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN from the Twilio console."
        return [_warn("twilio", detail="no account: only simulated calls (`moked call`) can come in", what_to_do=what)]
    found = []
    if not re.fullmatch(r"AC[0-9a-fA-F]{32}", account_sid):
        detail = "TWILIO_ACCOUNT_SID is not AC and 32 hexadecimal digits" if account_sid else "no TWILIO_ACCOUNT_SID"
        found.append(_fail("twilio", detail=detail, what_to_do="Copy the Account SID from the Twilio console."))
    if not re.fullmatch(r"[0-9a-fA-F]{32}", auth_token):
        detail = "TWILIO_AUTH_TOKEN is not 32 hexadecimal digits" if auth_token else "no TWILIO_AUTH_TOKEN"
        what = "Copy the Auth Token (not an API key's secret) from the Twilio console."
        found.append(_fail("twilio", detail=detail, what_to_do=what))
    return found or [_ok("twilio", detail=f"account …{account_sid[-4:]}")]


async def webhook(base_url: str) -> list[Finding]:
    """Twilio can reach us at `base_url`, and our clock agrees with the server's there."""
    unseen = _warn("clock", detail="could not be compared with another", what_to_do="Keep the clock set by NTP.")
    if not base_url:
        what = "For real calls set PUBLIC_BASE_URL to the https:// address at which Twilio finds this server."
        return [_warn("webhook", detail="PUBLIC_BASE_URL is not set", what_to_do=what), unseen]
    found = []
    local = _is_local(urlsplit(base_url).hostname or "")
    if not base_url.startswith("https://") and not local:
        what = "Use https://: Twilio opens the media stream only over an encrypted connection."
        found.append(_fail("webhook", detail="PUBLIC_BASE_URL is not https", what_to_do=what))
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:
            answer = await client.get(f"{base_url}/healthz")
    except httpx2.HTTPError as error:
        detail = f"{base_url}/healthz does not answer ({type(error).__name__})"
        what = "Start the server (`moked up`), and check the tunnel or proxy, its certificate, and the firewall."
        return [*found, _fail("webhook", detail=detail, what_to_do=what), unseen]
    if answer.status_code == 200:
        found.append(_ok("webhook", detail=f"{base_url}/healthz answers"))
    else:
        detail = f"{base_url}/healthz answers HTTP {answer.status_code}"
        what = "Another server answers there, or the proxy does not pass requests on to Moked's port."
        found.append(_fail("webhook", detail=detail, what_to_do=what))
    # A server on this machine shares our clock: agreeing with it says nothing.
    return [*found, unseen if local else clock(answer.headers.get("date", ""), datetime.now(UTC), otherwise=unseen)]


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def clock(date_header: str, now: datetime, *, otherwise: Finding) -> Finding:
    """Our clock against an HTTP Date header (whole seconds)."""
    try:
        theirs = parsedate_to_datetime(date_header)
    except ValueError:
        return otherwise
    if theirs.tzinfo is None:
        return otherwise
    skew = round((now - theirs).total_seconds())
    if abs(skew) <= MAX_CLOCK_SKEW_S:
        return _ok("clock", detail="agrees with the public server's")
    what = "Set the clock by NTP: call times, tickets and Google's credentials depend on it."
    return _fail("clock", detail=f"{abs(skew)} s {'ahead' if skew > 0 else 'behind'}", what_to_do=what)


async def redis(url: str, ping: Callable[[str], Awaitable[None]]) -> list[Finding]:
    """Redis answers. No finding when none is set."""
    if not url:
        return []
    try:
        await ping(url)
    except ImportError:
        return [_fail("redis", detail="its client is not installed", what_to_do="pip install 'moked[redis]'")]
    except ProviderError as error:
        what = "Start Redis, correct REDIS_URL, or remove it to keep live events within one process."
        return [_fail("redis", detail=f"does not answer ({error.kind.value})", what_to_do=what)]
    return [_ok("redis", detail="answers")]


async def database(schema: Callable[[], Schema]) -> list[Finding]:
    """It can be reached, and its tables are those of this version."""
    try:
        state = await anyio.to_thread.run_sync(schema)
    except Exception as error:  # whatever the driver raises means the same here; its text may hold the password
        what = "Check DATABASE_URL, that the server runs, and that the folder of a SQLite file can be written to."
        return [_fail("database", detail=f"cannot be used ({type(error).__name__})", what_to_do=what)]
    if state.current is None:
        return [_ok("database", detail="empty: the tables are made at the first start")]
    if state.current != state.head:
        what = "Make a backup, then start this version: it brings the tables up to date. An older version cannot."
        return [_warn("database", detail=f"tables of revision {state.current}, wanted {state.head}", what_to_do=what)]
    return [_ok("database", detail=f"reachable, revision {state.current}")]


async def media_processes(live: Callable[[], Sequence["NodeReport"]]) -> list[Finding]:
    """Who takes calls now, on this host and others; no finding where no server runs."""
    try:
        reports = await anyio.to_thread.run_sync(live)
    except Exception:  # no tables yet, or no database: its own check says so
        return []
    found = []
    for report in reports:
        name = f"media process {report.name}"
        detail = f"{report.active} of {report.capacity} calls, lag {report.lag_ms} ms, at {report.address}"
        if report.draining:
            found.append(_ok(name, detail=f"draining: {detail}"))
        elif report.accepting:
            found.append(_ok(name, detail=detail))
        else:
            what = "Start more media processes (MEDIA_PROCESSES), or lower MAX_CALLS: this one cannot keep up."
            found.append(_warn(name, detail=f"takes no calls: {detail}", what_to_do=what))
    return found


async def businesses(wrong: Callable[[], Mapping[str, str]]) -> list[Finding]:
    """The profiles of further businesses; no finding where there is but one business."""
    try:
        found = await anyio.to_thread.run_sync(wrong)
    except Exception:  # no tables yet, or no database: its own check says so
        return []
    what = "Put it right with `moked business add`: running servers take it up. Its calls wait, or keep to what it was."
    bad = [_fail(f"business {key}", detail=why, what_to_do=what) for key, why in found.items() if why]
    return bad or ([_ok("businesses", detail=f"{len(found)} more, all readable")] if found else [])


async def work_after_calls(jobs: Callable[[], Mapping[str, int]]) -> list[Finding]:
    """Dead letters, and work that nobody does; no finding where there is nothing to tell."""
    try:
        counts = await anyio.to_thread.run_sync(jobs)
    except Exception:  # no tables yet, or no database: its own check says so
        return []
    open_, failed = sum(counts.get(state, 0) for state in ("waiting", "queued", "running")), counts.get("failed", 0)
    name = "work after calls"
    if failed:
        what = "See the page Work in the desk: it says why, and tries again when you have put it right."
        return [_warn(name, detail=f"{failed} failed for good, {open_} open", what_to_do=what)]
    if open_ and not counts.get("workers", 0):
        what = "Start `moked up`, or `moked serve --role worker`: owners are not told of leads until then."
        return [_warn(name, detail=f"{open_} open, and no worker runs", what_to_do=what)]
    return [_ok(name, detail=f"{open_} open, {counts.get('workers', 0)} workers")] if open_ or counts else []


async def mail_server(host: str, number: int, sender: str, security: str) -> list[Finding]:
    """The server that tells owners of leads speaks SMTP there, and encrypts. Nothing is sent, nobody logs in."""
    if not host:
        what = "Set SMTP_HOST and SMTP_FROM, and owners are told of each lead by e-mail."
        return [_ok("mail", detail="no server is set: nobody is written to", what_to_do=what)]
    if not sender:
        return [_fail("mail", detail="no address to write from", what_to_do="Set SMTP_FROM.")]
    try:
        with anyio.fail_after(TIMEOUT_S):
            if security == "tls":
                async with await anyio.connect_tcp(host, number, tls=True, tls_standard_compatible=False) as secure:
                    greeting = await secure.receive(1000)
            else:
                async with await anyio.connect_tcp(host, number) as plain:
                    greeting = await plain.receive(1000)
    except (OSError, TimeoutError, ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        what = "Check SMTP_HOST, SMTP_PORT and SMTP_SECURITY: `starttls` is port 587, `tls` is 465."
        return [_fail("mail", detail=f"{host}:{number} does not answer ({type(error).__name__})", what_to_do=what)]
    if not greeting.startswith(b"220"):
        what = "Check SMTP_PORT: what answers there is no mail server, or does not want us."
        return [_fail("mail", detail=f"{host}:{number} answers, but not as a mail server", what_to_do=what)]
    return [_ok("mail", detail=f"{host}:{number} answers")]


# --- this machine ---------------------------------------------------------------------------------------------------


async def port(host: str, number: int) -> list[Finding]:
    """We could listen there, or do so already."""
    name = f"port {number}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        return [_fail(name, detail=f"HOST {host} is no address", what_to_do="Set HOST to 127.0.0.1 or 0.0.0.0.")]
    except PermissionError:
        what = "Set PORT to 1024 or more, or allow this program to use low ports."
        return [_fail(name, detail="may not be used by this user", what_to_do=what)]
    except OSError as error:
        if await _is_moked(host, number):
            return [_ok(name, detail="in use, as it should be: Moked serves there")]
        what = "Stop the other program, or set PORT to a free one."
        return [_fail(name, detail=f"cannot be opened on {host}: {error.strerror}", what_to_do=what)]
    return [_ok(name, detail=f"free on {host}")]


async def _is_moked(host: str, number: int) -> bool:
    """Whether it is our own server that uses the port."""
    where = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  (compared, not bound)
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            answer = await client.get(f"http://{where}:{number}/readyz")
            return "waiting_for" in answer.json()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TypeError):
        return False


async def model_weights(names: Sequence[str], root: Path) -> list[Finding]:
    """Each set of weights is installed and has its published hash."""
    found = []
    for name in names:
        try:
            where = await anyio.to_thread.run_sync(partial(weights.path, name, root=root))
        except ModelError as error:
            what = "Run `moked models install`."
            found.append(_fail(f"weights {name}", detail=str(error).partition(";")[0], what_to_do=what))
        else:
            found.append(_ok(f"weights {name}", detail=f"checked, in {where if where.is_dir() else where.parent}"))
    return found


async def disk(folders: dict[str, Path]) -> list[Finding]:
    """Room for the database, recordings and weights. Folders on one disk give one finding."""
    found: dict[int, Finding] = {}
    for variable, folder in folders.items():
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free // 1_000_000
        name, detail = f"disk of {variable}", f"{free:,} MB free at {there}"
        if free < MIN_FREE_MB:
            finding = _fail(name, detail=detail, what_to_do="Free some space: calls cannot be recorded on a full disk.")
        elif free < GOOD_FREE_MB:
            finding = _warn(name, detail=detail, what_to_do=f"Free some space or move {variable} to a larger disk.")
        else:
            finding = _ok(name, detail=detail)
        found.setdefault(there.stat().st_dev, finding)
    return list(found.values())


_AUDIO: Final = ("audioop", "numpy", "soxr", "onnxruntime", "faster_whisper")


async def audio_parts() -> list[Finding]:
    """The compiled parts that sound goes through can be found."""
    if missing := [name for name in _AUDIO if find_spec(name) is None]:
        what = "Install Moked again with `make install` (or `pip install moked`) for this Python."
        return [_fail("audio", detail=f"missing: {', '.join(missing)}", what_to_do=what)]
    return [_ok("audio", detail="all parts are installed")]


async def node() -> list[Finding]:
    """Node is needed for the WhatsApp bridge only."""
    program = shutil.which("node")
    if program is None:
        return [_ok("node", detail="not installed; only the WhatsApp bridge needs it (Node 20 or newer)")]
    try:
        with anyio.fail_after(TIMEOUT_S):
            answer = await anyio.run_process([program, "--version"], check=False)
    except (OSError, TimeoutError):
        return [_warn("node", detail=f"{program} does not run", what_to_do="Install Node 20 or newer again.")]
    version = answer.stdout.decode(errors="replace").strip()
    if (match := re.match(r"v(\d+)\.", version)) and int(match[1]) >= 20:
        return [_ok("node", detail=version)]
    return [_warn("node", detail=f"{version or 'unknown'} is too old", what_to_do="Install Node 20 or newer.")]
