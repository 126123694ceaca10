"""Every setting: its name, default, limits and meaning. The only reader of the environment.

A setting comes from the environment, else from `.env` in the working directory, else from its default; an empty value
counts as not set. Composition roots call `load_settings` once; everything else is given values.

The table below is also the source of two files:

    python -m moked.settings env > .env.example
    python -m moked.settings doc > docs/reference/settings.md
"""

import base64
import difflib
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from dotenv.parser import parse_stream
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from moked.crm.phone import to_e164
from moked.errors import SettingsError

_ENV_FILE: Final = ".env"
_KEY_BYTES: Final = 32
_HOST_PORT: Final = re.compile(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):(\d{1,5})")
_DATABASES: Final = ("sqlite", "postgresql", "postgresql+psycopg")


def _host_port(value: str) -> str:
    match = _HOST_PORT.fullmatch(value)
    if value and (match is None or not 0 < int(match[1]) < 65536):
        raise ValueError("it is not host:port")
    return value


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    _ = parts.port  # raises when it is not a port
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment):
        raise ValueError("it is not http:// or https:// with a host name and nothing after the path")
    return value.rstrip("/")


def _public_url(value: str) -> str:
    value = _base_url(value)
    parts = urlsplit(value)
    if parts.path or parts.username:
        raise ValueError("it has more than a scheme, a host and a port")
    return value


def _public_urls(value: str) -> str:
    return ",".join(_public_url(each.strip()) for each in value.split(",") if each.strip())


def _database_url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if value and (scheme not in _DATABASES or not separator or not rest):
        raise ValueError(f"it does not begin with one of {', '.join(_DATABASES)}")
    return value


def _phone(value: str) -> str:
    number = to_e164(value) if value else ""
    if number is None or (number and not number.startswith("+")):
        raise ValueError("it is no telephone number")
    return number


def _redis_url(value: str) -> str:
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("it does not begin with redis://, rediss:// or unix://")
    return value


def _data_keys(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        read_keys(value.get_secret_value())
    return value


def read_keys(text: str) -> tuple[bytes, ...]:
    """The keys of `DATA_KEY`, the one to seal with first. Raises `ValueError`."""
    try:
        keys = tuple(base64.b64decode(one.strip(), validate=True) for one in text.split(","))
    except ValueError:
        raise ValueError("it is not base64") from None
    if any(len(key) != _KEY_BYTES for key in keys):
        raise ValueError(f"a key has {_KEY_BYTES} bytes")
    return keys


def _addresses(value: str) -> str:
    found = [each.strip() for each in value.split(",") if each.strip()]
    for address in found:
        if not re.fullmatch(r"[^@\s,<>]+@[^@\s,<>]+", address):
            raise ValueError("it holds something that is no e-mail address")
    return ",".join(found)


def _existing_file(value: Path | None) -> Path | None:
    if value is not None and not value.is_file():
        raise ValueError("there is no such file")
    return value


def _folded(how: Literal["upper", "lower"]) -> BeforeValidator:
    return BeforeValidator(lambda value: getattr(value, how)() if isinstance(value, str) else value)


HostPort = Annotated[str, AfterValidator(_host_port)]
ExistingFile = Annotated[Path | None, AfterValidator(_existing_file)]


def _is(default: Any, about: str, right: str, **limits: Any) -> Any:
    """One setting. `right` is what a right value looks like; it completes the error message."""
    return Field(default, description=about, json_schema_extra={"right": right}, **limits)


def _price(about: str) -> Any:
    told = f"{about} For the estimate on the page of figures; 0: nothing, or not known."
    return _is(0.0, told, "a number from 0 to 100000", ge=0, le=100_000, allow_inf_nan=False)


_YES_NO: Final = "true or false"
_FILE: Final = "the path of a file that can be read"
_ADDRESS: Final = "host:port, such as localhost:9090"

# The first setting of each group, and the group's heading in the generated files.
_GROUPS: Final = {
    "host": "Server",
    "log_level": "Logs",
    "business_profile": "The business and its agent",
    "twilio_account_sid": "Twilio",
    "whatsapp": "Written messages",
    "database_url": "Storage",
    "enable_streaming_stt": "Hearing",
    "tts_voice": "Talking",
    "openai_api_key": "Language model",
    "smtp_host": "Messages to the people of the business",
    "price_phone_minute": "Prices",
}


class Settings(BaseSettings):
    """All settings, validated. Secrets are not in its `repr`. Make it with `load_settings`."""

    model_config = SettingsConfigDict(
        env_file=_ENV_FILE, env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    host: str = _is("127.0.0.1", "Address to listen on.", "an address such as 127.0.0.1 or 0.0.0.0")
    port: int = _is(8080, "TCP port to listen on.", "a number from 1 to 65535", ge=1, le=65535)
    public_base_url: Annotated[str, AfterValidator(_public_url)] = _is(
        "",
        "How the carrier reaches this server from outside; its signatures are checked against it.",
        "a scheme, a host and perhaps a port, such as https://phone.example.com",
    )
    media_public_url: Annotated[str, AfterValidator(_public_url)] = _is(
        "",
        "How the carrier reaches the media role, where it has an address of its own. Empty: `PUBLIC_BASE_URL`.",
        "a scheme, a host and perhaps a port, such as https://media.example.com",
    )
    api_requests_per_minute: int = _is(
        600,
        "Requests of one API key, on average, to one process; a sixth of it at once.",
        "a number from 1 to 100000",
        ge=1,
        le=100_000,
    )
    webhook_private_addresses: bool = _is(
        False,
        "Events may be sent to addresses inside (private, loopback, link-local), and without encryption.",
        _YES_NO,
    )
    data_dir: Path = _is(
        Path("data"), "Folder of the database, the voice cache and the local secret.", "the path of a folder"
    )
    models_dir: Path | None = _is(
        None, "Folder of the embedded model weights. Empty: `moked/models` in the user's cache.", "the path of a folder"
    )
    max_calls: int = _is(60, "Calls at the same time in one process.", "a number from 1 to 1000", ge=1, le=1000)
    media_processes: int | None = _is(
        None,
        "Media processes on this host, beside one for all else; each uses one core and takes `MAX_CALLS`. 0: one a "
        "core. Empty: everything in one process.",
        "a number from 0 to 256",
        ge=0,
        le=256,
    )
    admit_lag_ms: int = _is(
        60,
        "No new calls while the event loop is this late (p95 over five seconds); at half of it extras are left out.",
        "milliseconds from 5 to 60000",
        ge=5,
        le=60000,
    )
    max_call_seconds: int = _is(
        1800, "A call is ended politely after this long.", "seconds from 30 to 14400", ge=30, le=14400
    )
    detect_machines: bool = _is(
        False,
        "Hang up on answering machines and menus that call. Callers who read out a menu are rare, but they exist.",
        _YES_NO,
    )
    media_urls: Annotated[str, AfterValidator(_public_urls)] = _is(
        "",
        "Where the media processes are reached, all of them, for whoever asks which one serves: the web role for the "
        "next stream of a call, a draining media process before it lets its calls go. Empty: `MEDIA_PUBLIC_URL` alone.",
        "addresses as in MEDIA_PUBLIC_URL, with commas between them",
    )
    max_call_tokens: int = _is(
        500_000,
        "Tokens of the language model in one call; then the script takes the caller's details.",
        "a number from 1000 to 100000000",
        ge=1000,
        le=100_000_000,
    )
    max_call_tools: int = _is(
        60,
        "Tools the language model may use in one call; then the script takes the caller's details.",
        "a number from 1 to 10000",
        ge=1,
        le=10_000,
    )
    drain_seconds: int = _is(
        30,
        "After SIGTERM running calls may stay for this long: they go to another process as soon as one serves and "
        "nobody is speaking, and what finds none may finish.",
        "seconds from 0 to 3600",
        ge=0,
        le=3600,
    )

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _folded("upper")] = _is(
        "INFO", "How much is logged.", "DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Annotated[Literal["auto", "json", "text"], _folded("lower")] = _is(
        "auto", "`json`, `text`, or `auto`: text on a terminal, JSON elsewhere.", "auto, json or text"
    )
    log_transcripts: bool = _is(
        False, "Write what people say, their names and numbers to the log (`pii.*`, 🟡 and 🟢 lines).", _YES_NO
    )

    business_profile: ExistingFile = _is(
        None, "YAML file: name, hours, services, greeting, transfer number. Empty: a sample business.", _FILE
    )
    agent_script: ExistingFile = _is(
        None, "YAML file of the scripted conversation. Empty: the intake that comes with Moked.", _FILE
    )
    businesses_dir: Path | None = _is(
        None,
        "Folder of further businesses (`moked business`): `<key>/business.yaml` and perhaps `<key>/script.yaml`. "
        "Empty: `businesses` in `DATA_DIR`.",
        "the path of a folder",
    )
    endpoint_hold_ms: int = _is(
        550,
        "How much silence ends a whole sentence; a clear answer takes less, what may go on 165 more, what has to go on "
        "1400.",
        "milliseconds from 250 to 1400",
        ge=250,
        le=1400,
    )
    filler_ms: int = _is(
        900,
        "When an answer is not there so long after the turn is over, the agent says that it is at it. 0: never.",
        "milliseconds from 0 to 5000",
        ge=0,
        le=5000,
    )

    twilio_account_sid: str = _is("", "Account SID from the Twilio console.", "AC and 32 hexadecimal digits")
    twilio_auth_token: SecretStr | None = _is(
        None, "Auth token from the Twilio console. Empty: a random local one, for simulated calls.", "the token"
    )
    twilio_auth_token_file: ExistingFile = _is(None, "A file that holds `TWILIO_AUTH_TOKEN` instead.", _FILE)
    twilio_api_base_url: Annotated[str, AfterValidator(_base_url)] = _is(
        "", "Another server for Twilio's REST API, for an emulator.", "a URL such as http://localhost:4010"
    )

    outbound_caller_id: Annotated[str, AfterValidator(_phone)] = _is(
        "",
        "The number that calls we make come from: one of yours at the carrier. Further businesses call from their own. "
        "Empty: no calls are made.",
        "a telephone number such as +97235551234",
    )

    whatsapp: Annotated[Literal["off", "baileys", "cloud", "twilio"], _folded("lower")] = _is(
        "off",
        "How the agent answers WhatsApp. `baileys`: a linked device (`moked whatsapp install`, then the desk); "
        "`cloud`: Meta's Cloud API; `twilio`: through Twilio.",
        "off, baileys, cloud or twilio",
    )
    sms: Annotated[Literal["off", "twilio"], _folded("lower")] = _is(
        "off", "How the agent answers text messages.", "off or twilio"
    )
    twilio_whatsapp_number: str = _is(
        "", "Our WhatsApp number at Twilio.", "a number such as +97231234567", pattern=r"^(\+\d{7,15})?$"
    )
    twilio_sms_number: str = _is(
        "", "Our number for text messages at Twilio.", "a number such as +97231234567", pattern=r"^(\+\d{7,15})?$"
    )
    whatsapp_cloud_phone_id: str = _is("", "Phone number ID at Meta's Cloud API.", "digits", pattern=r"^\d*$")
    whatsapp_cloud_token: SecretStr | None = _is(None, "Access token for Meta's Cloud API.", "the token")
    whatsapp_cloud_token_file: ExistingFile = _is(None, "A file that holds `WHATSAPP_CLOUD_TOKEN` instead.", _FILE)
    whatsapp_cloud_secret: SecretStr | None = _is(
        None, "The app's secret at Meta; its webhooks are signed with it.", "the secret"
    )
    whatsapp_cloud_secret_file: ExistingFile = _is(None, "A file that holds `WHATSAPP_CLOUD_SECRET` instead.", _FILE)
    whatsapp_cloud_verify: SecretStr | None = _is(
        None, "The verify token that was typed at Meta beside the webhook's address.", "any words"
    )
    whatsapp_cloud_verify_file: ExistingFile = _is(None, "A file that holds `WHATSAPP_CLOUD_VERIFY` instead.", _FILE)
    whatsapp_cloud_base_url: Annotated[str, AfterValidator(_base_url)] = _is(
        "", "Another server for Meta's Graph API, for an emulator.", "a URL such as http://localhost:4030"
    )
    whatsapp_owner_template: str = _is(
        "",
        "An approved template with one place, for notices to the business's own people over an official interface: "
        "that takes free text only for 24 hours after they wrote. Without it such notices are held back, and say so.",
        "the template's name at Meta, or its ContentSid at Twilio",
    )
    whatsapp_templates: ExistingFile = _is(
        None,
        "YAML file of the approved templates that people at the desk can send over an official interface to who wrote "
        "more than a day ago, with their words and places.",
        _FILE,
    )
    whatsapp_voice_replies: Annotated[Literal["off", "voice_to_voice"], _folded("lower")] = _is(
        "voice_to_voice",
        "How the agent answers who sent a voice note. `voice_to_voice`: by one, since who speaks often cannot read "
        "just now; what is to be read (a link, something long), and what no voice can be made for, goes in writing, as "
        "it does through Twilio. `off`: always in writing.",
        "off or voice_to_voice",
    )
    whatsapp_read_receipts: Annotated[Literal["on", "off"], _folded("lower")] = _is(
        "on",
        "Whether who wrote sees that it was read: when the agent answers it, and when somebody opens it at the desk. "
        "Through Twilio they never do.",
        "on or off",
    )
    whatsapp_version: str = _is(
        "",
        "Version of WhatsApp Web to say we are. Empty: the last that was let in; a newer one where that is refused.",
        "three numbers such as 2.3000.1043857760",
        pattern=r"^(\d{1,9}\.\d{1,9}\.\d{1,11})?$",
    )
    whatsapp_web_url: str = _is(
        "",
        "Another server for WhatsApp, for an emulator.",
        "a URL such as ws://localhost:4020/ws/chat",
        pattern=r"^(wss?://.+)?$",
    )
    database_url: Annotated[str, AfterValidator(_database_url)] = _is(
        "",
        "SQLite or PostgreSQL. Empty: `moked.db` in `DATA_DIR`.",
        "sqlite:///path/to/moked.db or postgresql+psycopg://user:password@host/name",
        repr=False,
    )
    data_key: Annotated[SecretStr | None, AfterValidator(_data_keys)] = _is(
        None,
        "Key that secrets in the database are sealed with (AES-256). Older ones may follow after commas, to "
        "open with. Empty: the file `data_key` in `DATA_DIR`, made at the first start; several hosts need one key.",
        "32 random bytes in base64, such as `openssl rand -base64 32` gives",
    )
    data_key_file: ExistingFile = _is(None, "A file that holds `DATA_KEY` instead.", _FILE)
    recordings: Annotated[Literal["off", "on"], _folded("lower")] = _is(
        "off",
        "Record calls, both sides, encrypted. Each business may turn its own off; callers are told, and may refuse.",
        "off or on",
    )
    recordings_s3_bucket: str = _is(
        "", "Bucket of an S3-compatible store for recordings. Empty: `DATA_DIR/recordings`.", "a bucket's name"
    )
    recordings_s3_endpoint: Annotated[str, AfterValidator(_base_url)] = _is(
        "", "The store, where it is not AWS.", "a URL such as https://minio.example.com"
    )
    recordings_s3_region: str = _is("us-east-1", "Region of the bucket.", "a region such as il-central-1")
    recordings_s3_prefix: str = _is("moked", "Beginning of the objects' names.", "a name such as moked")
    recordings_s3_key_id: str = _is("", "Access key of the store.", "an access key's ID")
    recordings_s3_secret: SecretStr | None = _is(None, "Its secret.", "the secret access key")
    recordings_s3_secret_file: ExistingFile = _is(None, "A file that holds `RECORDINGS_S3_SECRET` instead.", _FILE)
    redis_url: Annotated[str, AfterValidator(_redis_url)] = _is(
        "", "Redis for live events between processes. Empty: within one process.", "redis://host:6379/0", repr=False
    )

    enable_streaming_stt: bool = _is(
        True,
        "Recognise while the caller speaks. `false`: whole utterances in single requests. "
        "`moked rollout` changes it for running calls.",
        _YES_NO,
    )
    stt_batch_ms: int = _is(
        150, "Audio in one request to the recogniser.", "milliseconds from 20 to 1000", ge=20, le=1000
    )
    stt_partial_debounce_ms: int = _is(
        180,
        "Time between interim transcripts, on average: a single one may come up to half of it early.",
        "milliseconds from 0 to 2000",
        ge=0,
        le=2000,
    )
    rollback_error_percent: int = _is(
        20,
        "Streaming is taken back by itself when so many of its streams fail, or calls are taken over. 0: never.",
        "a percentage from 0 to 100",
        ge=0,
        le=100,
    )
    rollback_p95_ms: int = _is(
        1200,
        "The same when answers take so long at p95, and half of it is waiting for words. 0: never.",
        "milliseconds from 0 to 10000",
        ge=0,
        le=10_000,
    )
    rollback_min_turns: int = _is(
        20,
        "Turns in five minutes before latency decides; a quarter as many streams or calls before errors do.",
        "a number from 1 to 1000",
        ge=1,
        le=1000,
    )
    shadow_max_calls: int = _is(
        4, "Shadow recognitions at the same time in one process.", "a number from 0 to 100", ge=0, le=100
    )
    stt_fallback: Annotated[Literal["whisper", "none"], _folded("lower")] = _is(
        "whisper",
        "What takes over a call when Google fails. `none` saves the memory of a local Whisper.",
        "whisper or none",
    )
    gcp_stt_api: Annotated[Literal["v1", "v2"], _folded("lower")] = _is(
        "v1", "Version of Google's recognition API. v2 recognises in a project and a location.", "v1 or v2"
    )
    gcp_stt_location: Annotated[str, _folded("lower")] = _is(
        "global",
        "Where v2 recognises; its models differ by location (`moked doctor` shows them). v1 has none.",
        "global, us, eu or a region such as europe-west4",
        pattern=r"^[a-z]+(-[a-z]+[0-9]+)?$",
    )
    gcp_project: str = _is(
        "",
        "Google Cloud project in which v2 recognises. Empty: the one the credentials name.",
        "a project's ID or number",
        pattern=r"^([a-z0-9.-]+:)?[a-z0-9][a-z0-9-]*$|^$",
    )
    gcp_stt_max_streams: int = _is(
        0,
        "Recognition streams to Google at the same time in one process; calls beyond go to the fallback. 0: no limit.",
        "a number from 0 to 1000",
        ge=0,
        le=1000,
    )
    stt_second_pass: Annotated[Literal["auto", "on", "off"], _folded("lower")] = _is(
        "auto",
        "Names and numbers are heard again by Whisper, and asked about where it differs. `auto`: where Google hears "
        "the call and Whisper stands by.",
        "auto, on or off",
    )
    stt_stored_transcript: Annotated[Literal["live", "whisper"], _folded("lower")] = _is(
        "live",
        "`whisper`: the caller's audio is kept in `DATA_DIR/spool` until the call is over, transcribed and deleted.",
        "live or whisper",
    )
    gcp_stt_model: str = _is("phone_call", "Google's recognition model, the first to be tried.", "a model's name")
    gcp_stt_language: str = _is(
        "he-IL", "Language of the callers.", "a BCP 47 tag such as he-IL", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$"
    )
    gcp_stt_punctuation_interim: bool = _is(False, "Punctuation in interim transcripts.", _YES_NO)
    gcp_stt_punctuation_final: bool = _is(True, "Punctuation in final transcripts.", _YES_NO)
    google_application_credentials: ExistingFile = _is(
        None, "Google service account key. Empty: Moked hears and speaks with its embedded models.", _FILE
    )
    speech_emulator_host: HostPort = _is(
        "", "Another Google Speech server, without encryption or credentials.", _ADDRESS
    )
    whisper_model: str = _is(
        "base",
        "Whisper on this machine: `base` is embedded; else a folder, or a name on a model hub "
        "(`ivrit-ai/whisper-large-v3-turbo-ct2` is made for Hebrew and needs a GPU or many cores). "
        "With `WHISPER_BASE_URL`: the model's name on that server.",
        "base, the path of a folder, or a model's name",
    )
    whisper_base_url: Annotated[str, AfterValidator(_base_url)] = _is(
        "",
        "An OpenAI-compatible transcription server (speaches, vLLM, a hosted one) that hears instead of this machine.",
        "a URL such as http://gpu:8000/v1",
    )
    whisper_api_key: SecretStr | None = _is(None, "Key of the transcription server, where it wants one.", "the key")
    whisper_api_key_file: ExistingFile = _is(None, "A file that holds `WHISPER_API_KEY` instead.", _FILE)
    whisper_max_calls: int = _is(
        0,
        "Calls that listen through Whisper at the same time; one more is told at once. 0: measured at the start.",
        "a number from 0 to 1000",
        ge=0,
        le=1000,
    )
    whisper_workers: int = _is(
        0,
        "Processes of a local Whisper, each with the whole model in its memory. 0: one for four cores.",
        "a number from 0 to 64",
        ge=0,
        le=64,
    )
    whisper_partials: bool = _is(
        True,
        "Interim transcripts of Whisper; while a worker is free, it hears an open sentence several times.",
        _YES_NO,
    )

    tts_voice: str = _is("he-IL-Wavenet-D", "Google's voice.", "a voice's name such as he-IL-Wavenet-D")
    tts_rate: float = _is(
        0.96, "Speaking rate; 1 is the voice's own.", "a number from 0.25 to 2.0", ge=0.25, le=2.0, allow_inf_nan=False
    )
    tts_pitch: float = _is(
        -2.0, "Pitch in semitones.", "a number from -20.0 to 20.0", ge=-20.0, le=20.0, allow_inf_nan=False
    )
    tts_fallback: Annotated[Literal["auto", "local", "none"], _folded("lower")] = _is(
        "auto",
        "Which voice speaks where Google's gives no sound: the local one. `auto`: if its models are installed; `local`"
        " has them installed; `none` saves their memory (350 MB).",
        "auto, local or none",
    )
    texttospeech_emulator_host: HostPort = _is(
        "", "Another Google Text-to-Speech server, without encryption or credentials.", _ADDRESS
    )

    openai_api_key: SecretStr | None = _is(
        None, "Key of the language model. With neither key nor URL the scripted agent talks.", "the key"
    )
    openai_api_key_file: ExistingFile = _is(None, "A file that holds `OPENAI_API_KEY` instead.", _FILE)
    openai_base_url: Annotated[str, AfterValidator(_base_url)] = _is(
        "", "Any OpenAI-compatible server. Empty: OpenAI.", "a URL such as https://api.openai.com/v1"
    )
    llm_model: str = _is("gpt-5.4-mini", "The model's name on that server.", "a model's name")
    llm_timeout_s: float = _is(
        6.0, "Longest wait for the model's first word.", "seconds from 0.5 to 60", ge=0.5, le=60, allow_inf_nan=False
    )

    smtp_host: str = _is(
        "",
        "Mail server that tells the owner of each lead, seconds after the call. Empty: nobody is written to.",
        "a host name such as smtp.example.com",
    )
    smtp_port: int = _is(587, "Its port.", "a number from 1 to 65535", ge=1, le=65535)
    smtp_security: Annotated[Literal["starttls", "tls", "none"], _folded("lower")] = _is(
        "starttls",
        "How the connection is encrypted: `starttls` (port 587), `tls` (port 465), or `none` for a server of your own.",
        "starttls, tls or none",
    )
    smtp_user: str = _is("", "Login at the mail server. Empty: it wants none.", "a user name", repr=False)
    smtp_password: SecretStr | None = _is(None, "Password of that login.", "the password")
    smtp_password_file: ExistingFile = _is(None, "A file that holds `SMTP_PASSWORD` instead.", _FILE)
    smtp_from: Annotated[str, AfterValidator(_addresses)] = _is(
        "",
        "The address messages come from. Empty: `SMTP_USER`, where that is one.",
        "an address such as moked@example.com",
    )
    notice_email: Annotated[str, AfterValidator(_addresses)] = _is(
        "",
        "Who is told of leads. Empty: the owners, at the addresses they log in with.",
        "addresses with commas between them",
    )

    @property
    def mail_sender(self) -> str:
        """`SMTP_FROM`, or the login where it is an address; '' where no mail can be sent."""
        return self.smtp_from or (self.smtp_user if "@" in self.smtp_user else "")

    price_phone_minute: float = _price("A minute of a call at the carrier.")
    price_hearing_minute: float = _price("A minute heard by Google.")
    price_voice_million: float = _price("A million letters spoken by Google's voice.")
    price_model_million: float = _price("A million tokens of the language model, of both kinds together.")
    price_currency: Annotated[str, _folded("upper")] = _is(
        "USD", "Currency of the prices.", "three letters such as USD or ILS", pattern=r"^[A-Z]{3}$"
    )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at although Moked can start: likely typos in `.env`, and what does nothing."""
        return self._warnings

    @property
    def database(self) -> str:
        """`DATABASE_URL`, or the SQLite file in `DATA_DIR`."""
        return self.database_url or f"sqlite:///{self.data_dir / 'moked.db'}"

    @property
    def businesses_root(self) -> Path:
        """`BUSINESSES_DIR`, or the folder in `DATA_DIR`."""
        return self.businesses_dir or self.data_dir / "businesses"

    @property
    def google_speech(self) -> bool:
        """Whether Google, or its emulator, hears the calls."""
        return bool(self.speech_emulator_host or self.google_application_credentials)

    @property
    def models_root(self) -> Path:
        """`MODELS_DIR`, or the folder in the user's cache."""
        return self.models_dir or default_root()


_SECRETS: Final = (
    "twilio_auth_token",
    "data_key",
    "whisper_api_key",
    "openai_api_key",
    "smtp_password",
    "recordings_s3_secret",
    "whatsapp_cloud_token",
    "whatsapp_cloud_secret",
    "whatsapp_cloud_verify",
)
_NOT_SHOWN: Final = {*_SECRETS, "database_url", "redis_url"}  # these hold secrets, or may


def default_root() -> Path:
    """`moked/models` in the user's cache folder, where clean clones share the weights."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moked" / "models"


def load_settings() -> Settings:
    """Read and validate everything. Raises `SettingsError` that names every wrong variable, one a line."""
    try:
        warnings = _env_file_warnings(Path(_ENV_FILE))
        settings = Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors(include_url=False))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{_ENV_FILE} cannot be read: {error}. Use a readable UTF-8 text file.") from None
    loaded = settings.model_copy(update=_secrets_from_files(settings))
    loaded._warnings = (*warnings, *_without_effect(loaded))
    return loaded


def _without_effect(settings: Settings) -> list[str]:
    """Settings that do nothing beside the others."""
    v2_only = {"GCP_STT_LOCATION": settings.gcp_stt_location != "global", "GCP_PROJECT": bool(settings.gcp_project)}
    idle = []
    if settings.outbound_caller_id and not (settings.twilio_account_sid and settings.twilio_auth_token):
        idle.append("OUTBOUND_CALLER_ID: without TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN no calls are made.")
    if settings.smtp_host and not settings.mail_sender:
        idle.append("SMTP_FROM: it is empty, and SMTP_USER is no address: nobody is written to.")
    return idle + [
        f"{name}: it is for GCP_STT_API=v2; v1 has no locations and no projects, and ignores it."
        for name, is_set in v2_only.items()
        if is_set and settings.gcp_stt_api == "v1"
    ]


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0])
    wrong = str(problem.get("ctx", {}).get("error") or problem["msg"]).replace("Input should", "it should")
    shown = "" if name in _NOT_SHOWN else f" {str(problem['input'])[:80]!r}"
    return f"{name.upper()}: the value{shown} cannot be used: {wrong}. Use {_right(Settings.model_fields[name])}."


def _right(field: FieldInfo) -> str:
    assert isinstance(field.json_schema_extra, dict)
    return str(field.json_schema_extra["right"])


def _secrets_from_files(settings: Settings) -> dict[str, SecretStr]:
    found, problems = {}, []
    for name in _SECRETS:
        path: Path | None = getattr(settings, f"{name}_file")
        variable = f"{name.upper()}_FILE"
        if path is None:
            continue
        if getattr(settings, name) is not None:
            problems.append(f"{variable}: {name.upper()} is set too. Use one of them.")
            continue
        try:
            secret = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{variable}: the file cannot be read ({type(error).__name__}). Use {_FILE}.")
            continue
        if not secret:
            problems.append(f"{variable}: the file is empty. Write the secret into it.")
        found[name] = SecretStr(secret)
    if problems:
        raise SettingsError("\n".join(problems))
    return found


def _env_file_warnings(path: Path) -> tuple[str, ...]:
    """Lines of `.env` that do nothing though somebody meant something by them. Foreign variables are nobody's error."""
    if not path.is_file():
        return ()
    known = [name.upper() for name in Settings.model_fields]
    warnings = []
    with path.open(encoding="utf-8") as stream:
        for binding in parse_stream(stream):
            if binding.error:
                warnings.append(f"{path}, line {binding.original.line}: this is not NAME=value, and is ignored.")
            elif binding.key is not None and (name := binding.key.upper()) not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
                warnings += [f"{path}: {binding.key} is not a setting. Did you mean {close[0]}?"] if close else []
    return tuple(warnings)


def ensure_local_secret(data_dir: Path) -> str:
    """The random auth token of a server without a Twilio account; made on first use, readable by its owner alone.

    It signs simulated calls, so that the keyless server checks signatures like any other.
    """
    path = data_dir / "local_auth_token"
    token = _secret_file(path, lambda: secrets.token_hex(16))
    if len(token) < 32:
        raise SettingsError(f"DATA_DIR: {path} holds no token. Delete the file; a new one is made.")
    return token


def ensure_data_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys that stored secrets are sealed with, the newest first. Raises `SettingsError`."""
    given = settings.data_key
    path = settings.data_dir / "data_key"
    text = given.get_secret_value() if given is not None else _secret_file(path, _new_key)
    try:
        return read_keys(text)
    except ValueError as error:
        name = "DATA_KEY" if given is not None else f"DATA_DIR: {path}"
        raise SettingsError(
            f"{name} holds no key: {error}. Bring the right one back: nothing else opens what it sealed."
        ) from None


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def _secret_file(path: Path, make: Callable[[], str]) -> str:
    """What the file holds, made where there is none. Processes that start together agree on one: the file appears
    complete (a hard link of a finished file), and the first one stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".token-")  # mode 0600
            try:
                with os.fdopen(descriptor, "w") as stream:
                    stream.write(make() + "\n")
                os.link(name, path)
            except FileExistsError:
                pass  # another process was first
            finally:
                Path(name).unlink()
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"DATA_DIR: {path} cannot be used: {error}. Use a folder Moked may write to.") from None


# --- the generated files --------------------------------------------------------------------------------------------


def _shown_default(field: FieldInfo) -> str:
    match field.default:
        case None:
            return ""
        case bool(value):
            return str(value).lower()
        case value:
            return str(value)


def env_example() -> str:
    """The text of `.env.example`: every setting with its meaning and default."""
    lines = [
        "# Settings of Moked. Copy this file to `.env` and change what you need; the environment wins over the file.",
        "# Everything has a default: with no settings at all Moked runs on its embedded models.",
    ]
    for name, field in Settings.model_fields.items():
        if name in _GROUPS:
            lines += ["", f"# --- {_GROUPS[name]} ---"]
        default = _shown_default(field)
        lines += ["", f"# {field.description} ({_right(field)})", f"{'' if default else '# '}{name.upper()}={default}"]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The text of `docs/reference/settings.md`."""
    lines = [
        "# Settings",
        "",
        "From the environment, else from `.env` in the working directory, else the default. An empty value counts as",
        "not set. A wrong value stops the start with a message that names the variable. This page is generated:",
        "`python -m moked.settings doc`.",
    ]
    for name, field in Settings.model_fields.items():
        if name in _GROUPS:
            lines += ["", f"## {_GROUPS[name]}", "", "| Name | Default | Meaning | Right values |", "|---|---|---|---|"]
        default = _shown_default(field)
        lines.append(
            f"| `{name.upper()}` | {f'`{default}`' if default else ''} | {field.description} | {_right(field)} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write({"env": env_example, "doc": reference}[sys.argv[1]]())


def environment_with(own: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of ours that is started with the settings `own` over those of this one."""
    return {**os.environ, **own}
