"""Which parts serve, and why: recognition, voice and agent, built from the settings.

A part is chosen by what is there: credentials or an emulator's address first, then the embedded models, then the last
resort. Every choice says its reason and what would be better, so that `moked up` can tell the owner. Built here,
entered by the role: nothing connects or loads before `running()`.
"""

import shutil
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from moked import weights
from moked.channels.smtp import Server
from moked.dialog import AgentFactory
from moked.dialog.business import Business
from moked.dialog.chat import Chat
from moked.dialog.deaf import UnheardAgents
from moked.dialog.llm import LlmAgents
from moked.dialog.published import AgentPlan
from moked.dialog.rations import RationedAgents, Rations
from moked.dialog.script import ScriptAgents
from moked.errors import ModelError, SettingsError
from moked.media.session import Phrases
from moked.recording.store import Store
from moked.rollout.policy import Engines
from moked.settings import Settings
from moked.stt import Engine
from moked.stt.fairqueue import Rank
from moked.stt.google import GoogleSettings, GoogleStreaming, GoogleUtterances, Survey, survey
from moked.stt.second import SecondEar, Transcriber
from moked.stt.whisper_http import WhisperHttp
from moked.stt.whisper_local import WhisperLocal
from moked.stt.whisper_models import RECOMMENDED
from moked.telephony import ProviderRecordings
from moked.tts.cache import CachedSynthesizer
from moked.tts.google import GoogleVoice
from moked.tts.local import CALLS_NICE, EspeakVoice, LocalVoice
from moked.tts.two_voices import TwoVoices

_ASIDE_NICE = 15
_GOOGLE_PHRASES_AT_A_TIME = 4  # while the phrases are rendered ahead: the rest of its requests is for callers


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of what `moked up` tells: the part, what serves it, why, and what would be better ('' if nothing)."""

    part: str
    chosen: str
    why: str
    better: str = ""


def uses_google_speech(settings: Settings) -> bool:
    return settings.google_speech


def uses_google_voice(settings: Settings) -> bool:
    return bool(settings.texttospeech_emulator_host or settings.google_application_credentials)


Voice = CachedSynthesizer | TwoVoices

VOICE_WEIGHTS = ("nakdimon", "phonikud", "kokoro")


def needed_weights(settings: Settings) -> list[str]:
    """Names of the embedded weights these settings need. Those of the voice have a last resort, espeak-ng."""
    names = ["silero-vad"]
    whisper = _hears_calls(settings) or _needs_own_whisper(settings)
    if whisper and settings.whisper_model == "base" and not settings.whisper_base_url:
        names.append("whisper-base")
    if not uses_google_voice(settings) or settings.tts_fallback == "local":
        names += VOICE_WEIGHTS
    return names


def spared_weights(settings: Settings) -> set[str]:
    """Those without which calls are served all the same, if not as well."""
    return {*VOICE_WEIGHTS, *(["whisper-base"] if _needs_own_whisper(settings) else [])}


def hearing(settings: Settings, business: Business) -> tuple[list[Engine], Choice]:
    """The recognition engines. Of Google both modes, because a running system may change (`engines_of`)."""
    if not uses_google_speech(settings):
        whisper, name_of_whisper = _whisper(settings)
        if settings.whisper_base_url:
            return [*whisper], Choice("hearing", name_of_whisper, "WHISPER_BASE_URL is set")
        better = "" if settings.whisper_model != "base" else f"Google credentials, or WHISPER_MODEL={RECOMMENDED}"
        return [*whisper], Choice("hearing", name_of_whisper, "no Google credentials are set", better)
    google = google_speech(settings)
    engines: list[Engine]
    name = "Google" if google.api == "v1" else f"Google {google.api} ({google.location})"
    if settings.enable_streaming_stt:
        streaming = GoogleStreaming(google)
        engines, name = [streaming, GoogleUtterances(google, ladder=streaming.ladder)], f"{name}, streaming"
    else:
        utterances = GoogleUtterances(google)
        engines = [utterances, GoogleStreaming(google, ladder=utterances.ladder)]
        name = f"{name}, whole utterances"
    why = "SPEECH_EMULATOR_HOST is set" if settings.speech_emulator_host else "Google credentials are set"
    if settings.stt_fallback == "whisper":
        whisper, name_of_whisper = _whisper(settings)
        engines += whisper
        return engines, Choice("hearing", f"{name}; {name_of_whisper} if it fails", why)
    return engines, Choice("hearing", name, why, "STT_FALLBACK=whisper, so that a failure of Google loses no word")


def google_speech(settings: Settings) -> GoogleSettings:
    return GoogleSettings(
        api=settings.gcp_stt_api,
        location=settings.gcp_stt_location,
        project=settings.gcp_project,
        max_streams=settings.gcp_stt_max_streams,
        model=settings.gcp_stt_model,
        language=settings.gcp_stt_language,
        batch_ms=settings.stt_batch_ms,
        punctuation_interim=settings.gcp_stt_punctuation_interim,
        punctuation_final=settings.gcp_stt_punctuation_final,
        emulator_host=settings.speech_emulator_host or None,
        credentials_file=_text(settings.google_application_credentials),
    )


async def ask_google_speech(settings: Settings) -> Survey | None:
    """What Google says to each recognition model; None where it does not serve. Raises `ProviderError` and, for the
    credentials, `SettingsError`."""
    if not uses_google_speech(settings):
        return None
    return await survey(google_speech(settings), streaming=settings.enable_streaming_stt)


async def ask_google_voices(settings: Settings) -> Sequence[str] | None:
    """The voices Google has for the language of `TTS_VOICE`; None where it does not serve. Raises `ProviderError`."""
    return await _google_voice(settings).voices() if uses_google_voice(settings) else None


def _google_voice(settings: Settings, gender: str = "m") -> GoogleVoice:
    return GoogleVoice(
        voice=settings.tts_voice,
        rate=settings.tts_rate,
        pitch=settings.tts_pitch,
        gender=gender,
        emulator_host=settings.texttospeech_emulator_host or None,
        credentials_file=_text(settings.google_application_credentials),
    )


def engines_of(engines: Sequence[Engine]) -> Engines:
    """The two modes among them, and what takes over."""
    names = [engine.name for engine in engines]
    return Engines.of(names, streaming=GoogleStreaming.name, utterances=GoogleUtterances.name)


@dataclass(frozen=True, slots=True)
class SecondHearing:
    """Whisper beside the live engine. `engine` is one that only this needs, and is to be entered; None: it serves
    calls anyway, or there is none. `ear` hears slots again, `scribe` writes stored transcripts."""

    engine: WhisperLocal | WhisperHttp | None = None
    ear: SecondEar | None = None
    scribe: SecondEar | None = None
    choices: tuple[Choice, ...] = ()

    def running(self) -> AbstractAsyncContextManager[None]:
        """The engine beside the calls; a local model loads meanwhile."""
        match self.engine:
            case WhisperLocal() as local:
                return local.running(wait=False)
            case WhisperHttp() as server:
                return server.running()
            case None:
                return nullcontext()


def second_hearing(settings: Settings, engines: Sequence[Engine]) -> SecondHearing:
    """What hears names and numbers a second time, and writes the transcript after the call."""
    whisper: Transcriber | None = next((one for one in engines if isinstance(one, Transcriber)), None)
    own = None
    if whisper is None and _needs_own_whisper(settings):
        base = settings.whisper_model == "base" and not settings.whisper_base_url
        if base and not _installed(settings, "whisper-base"):
            why = "Whisper's weights are not installed"
            return SecondHearing(choices=(Choice("second hearing", "none", why, "run `moked models install`"),))
        whisper = own = _whisper(settings)[0][0]
    if whisper is None:
        return SecondHearing()
    ear = scribe = None
    choices = []
    if _second_pass(settings):
        ear = SecondEar(whisper)
        choices.append(Choice("second hearing", f"Whisper ({settings.whisper_model})", "for names and numbers"))
    if settings.stt_stored_transcript == "whisper":
        scribe = SecondEar(whisper, at_once=1, deadline_s=120.0, rank=Rank.BACKGROUND)
        choices.append(Choice("transcript", f"Whisper ({settings.whisper_model})", "STT_STORED_TRANSCRIPT is set"))
    return SecondHearing(own, ear, scribe, tuple(choices))


def _hears_calls(settings: Settings) -> bool:
    """Whether calls are, or may be, heard by Whisper."""
    return not uses_google_speech(settings) or settings.stt_fallback == "whisper"


def _second_pass(settings: Settings) -> bool:
    match settings.stt_second_pass:
        case "auto":
            return uses_google_speech(settings) and _hears_calls(settings)
        case chosen:
            return chosen == "on"


def _needs_own_whisper(settings: Settings) -> bool:
    """Where no call would be heard by Whisper, and it is asked for all the same."""
    return not _hears_calls(settings) and (_second_pass(settings) or settings.stt_stored_transcript == "whisper")


def voice(settings: Settings, business: Business, *, aside: bool = False) -> tuple[Voice, Choice]:
    """The voice, behind its cache. `aside`: for what is not a call, which a voice on this machine goes before."""
    gender = "m" if business.voice_gender == "male" else "f"
    inner: GoogleVoice | LocalVoice | EspeakVoice
    if uses_google_voice(settings):
        inner = _google_voice(settings, gender)
        emulated = bool(settings.texttospeech_emulator_host)
        why = "TEXTTOSPEECH_EMULATOR_HOST is set" if emulated else "Google credentials are set"
        choice = Choice("voice", f"Google {settings.tts_voice}", why)
    elif _installed(settings, *VOICE_WEIGHTS):
        inner = _own_voice(settings, gender, aside=aside)
        choice = Choice("voice", "Kokoro, local", "no Google credentials are set", "Google credentials: a native voice")
    else:
        program = shutil.which("espeak-ng")
        if program is None:
            raise ModelError("there is no voice: run `moked models install`, or set GOOGLE_APPLICATION_CREDENTIALS")
        pointed = (
            weights.path("nakdimon", root=settings.models_root)
            if _installed(settings, "nakdimon", "phonikud")
            else None
        )
        inner = EspeakVoice(program, nakdimon=pointed, gender=gender)
        choice = Choice("voice", "espeak-ng", "no credentials and no voice weights", "run `moked models install`")
    parallel = _GOOGLE_PHRASES_AT_A_TIME if isinstance(inner, GoogleVoice) else 1
    folder = settings.data_dir / "voice"
    cache = CachedSynthesizer(
        inner, folder, key=inner.key, gender=gender, pronunciation=business.pronunciation, parallel=parallel
    )
    second = None if aside else _second_voice(settings, inner, gender)
    if second is None:
        return cache, choice
    return TwoVoices(cache, second), replace(choice, chosen=f"{choice.chosen}; {second.name} if it gives no sound")


def _second_voice(settings: Settings, first: object, gender: str) -> LocalVoice | None:
    """Only behind Google: the local voice fails with the machine."""
    if settings.tts_fallback == "none" or not isinstance(first, GoogleVoice):
        return None
    return _own_voice(settings, gender) if _installed(settings, *VOICE_WEIGHTS) else None


def _own_voice(settings: Settings, gender: str, *, aside: bool = False) -> LocalVoice:
    name, nice = "jm_kumo" if gender == "m" else "jf_alpha", _ASIDE_NICE if aside else CALLS_NICE
    return local_voice(settings, voice=name, gender=gender, nice=nice)


def _installed(settings: Settings, *names: str) -> bool:
    return all(weights.available(name, root=settings.models_root) for name in names)


def local_voice(settings: Settings, *, voice: str, gender: str, nice: int = CALLS_NICE) -> LocalVoice:
    """The embedded Hebrew voice; also the caller's in rehearsals."""
    root = settings.models_root
    nakdimon, kokoro = weights.path("nakdimon", root=root), weights.path("kokoro", root=root)
    return LocalVoice(nakdimon, kokoro, voice=voice, rate=settings.tts_rate, gender=gender, nice=nice)


def has_model(settings: Settings) -> bool:
    """Whether a language model talks, and not the script."""
    return settings.openai_api_key is not None or bool(settings.openai_base_url)


def chat(settings: Settings) -> Chat | None:
    """The language model's server, where one is configured; for all agents of the process."""
    if not has_model(settings):
        return None
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key is not None else ""
    return Chat(base_url=settings.openai_base_url, api_key=key, timeout_s=settings.llm_timeout_s)


def agents(
    settings: Settings, plan: AgentPlan, chat: Chat | None, *, written: bool = False
) -> tuple[AgentFactory, Choice]:
    """The agent: a language model where there is a `chat`, else the script. `written`: for conversations in writing."""
    script = ScriptAgents(plan.business, script=plan.script)
    if chat is None:
        return script, Choice(
            "agent", "script", "no language model is set", "OPENAI_API_KEY, or OPENAI_BASE_URL of any compatible server"
        )
    model = LlmAgents(
        plan.business,
        model=settings.llm_model,
        api_key="",
        base_url=settings.openai_base_url,
        max_tools=settings.max_call_tools,
        prompt=plan.prompt,
        chat=chat,
        written=written,
    )
    rations = Rations(settings.max_call_tokens, settings.max_call_tools)
    rationed = RationedAgents(model, script, plan.business, rations)
    why = "OPENAI_BASE_URL is set" if settings.openai_base_url else "OPENAI_API_KEY is set"
    return rationed, Choice("agent", settings.llm_model, why)


def unheard(plan: AgentPlan) -> UnheardAgents:
    """Who has a call that nobody can hear, whichever agent it has; the sentences are the script's."""
    return UnheardAgents(plan.business, plan.script)


def mail_server(settings: Settings) -> Server | None:
    """Where e-mail goes out; None where none is set."""
    if not settings.smtp_host or not settings.mail_sender:
        return None
    password = settings.smtp_password
    return Server(
        settings.smtp_host,
        settings.smtp_port,
        settings.mail_sender,
        settings.smtp_security,
        settings.smtp_user,
        password.get_secret_value() if password is not None else "",
    )


def recordings_store(settings: Settings) -> Store | None:
    """Where complete recordings go; None: the disk."""
    if not settings.recordings_s3_bucket:
        return None
    if not settings.recordings_s3_key_id or settings.recordings_s3_secret is None:
        raise SettingsError("RECORDINGS_S3_BUCKET: a store needs RECORDINGS_S3_KEY_ID and RECORDINGS_S3_SECRET too.")
    from moked.recording.s3 import S3Place, S3Store

    return S3Store(
        S3Place(
            bucket=settings.recordings_s3_bucket,
            key_id=settings.recordings_s3_key_id,
            secret=settings.recordings_s3_secret.get_secret_value(),
            endpoint=settings.recordings_s3_endpoint,
            region=settings.recordings_s3_region,
            prefix=settings.recordings_s3_prefix,
        )
    )


def provider_recordings(settings: Settings) -> ProviderRecordings | None:
    """For deleting the carrier's copies; None without its credentials."""
    token = settings.twilio_auth_token
    if not settings.twilio_account_sid or token is None:
        return None
    return ProviderRecordings(
        settings.twilio_account_sid, token.get_secret_value(), settings.twilio_api_base_url or None
    )


def phrases(business: Business) -> Phrases:
    """What the session says itself when the agent cannot."""
    male = business.voice_gender == "male"
    checking = "בודק" if male else "בודקת"
    connecting = "מעביר" if male else "מעבירה"
    sorry = "מתנצל" if male else "מתנצלת"
    way_on = f"אני {connecting} אתכם לנציג." if business.transfer_number else "נחזור אליכם בהקדם. להתראות."
    return Phrases(
        sorry_again="סליחה, לא קלטתי. אפשר לחזור על זה?",
        sorry_broken=f"אני {sorry}, יש לי תקלה. {way_on}",
        too_long="הגענו לסוף הזמן של השיחה. הפרטים נרשמו, ונחזור אליכם. להתראות.",
        back="סליחה על ההפסקה הקצרה, אני איתכם.",
        say_again="סליחה, הקו נקטע לרגע. אפשר לחזור על מה שאמרתם?",
        last_minute="נשארה לנו עוד דקה לשיחה.",
        asked_team=f"דיברתי עם הצוות. רק רגע, אני {checking} מה נמסר לי.",
        not_recording="בסדר גמור, השיחה לא מוקלטת.",
        transferring=f"אני {connecting} אתכם לנציג.",
        fillers=(
            f"רק רגע, אני {checking}.",
            "שנייה אחת.",
            f"אני {checking} את זה.",
        ),
        long_fillers=("זה לוקח עוד רגע, תודה על הסבלנות.", "עוד רגע ואני איתכם."),
    )


def _whisper(settings: Settings) -> tuple[list[WhisperLocal | WhisperHttp], str]:
    """The server where one is set, with the embedded model behind it where that is installed; and what to call them."""
    if not settings.whisper_base_url:
        return [_local_whisper(settings, settings.whisper_model)], f"Whisper ({settings.whisper_model})"
    server = WhisperHttp(
        settings.whisper_base_url,
        settings.whisper_model,
        api_key=settings.whisper_api_key.get_secret_value() if settings.whisper_api_key is not None else "",
        max_calls=settings.whisper_max_calls,
        partials=settings.whisper_partials,
    )
    name = f"Whisper at {urlsplit(settings.whisper_base_url).netloc.rpartition('@')[2]} ({settings.whisper_model})"
    if settings.stt_fallback == "whisper" and _installed(settings, "whisper-base"):
        return [server, _local_whisper(settings, "base")], f"{name}, then the embedded one"
    return [server], name


def _local_whisper(settings: Settings, model: str) -> WhisperLocal:
    return WhisperLocal(
        weights.path("whisper-base", root=settings.models_root) if model == "base" else model,
        compute_type="int8" if model == "base" else "default",  # as it was saved: large ones lose Hebrew by int8
        workers=settings.whisper_workers,
        max_calls=0 if settings.whisper_base_url else settings.whisper_max_calls,
        partials=settings.whisper_partials,
        hints=model != "base",
    )


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def all_phrases(agents: AgentFactory, fixed: Phrases) -> Sequence[str]:
    """Every sentence worth rendering ahead of time, most urgent first."""
    return (*agents.phrases(), *fixed)
