"""Which parts serve, and why: recognition, voice and agent, built from the settings.

A part is chosen by what is there: credentials or an emulator's address first, then the embedded models, then the last
resort. Every choice says its reason and what would be better, so that `moked up` can tell the owner. Built here,
entered by the role: nothing connects or loads before `running()`.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moked import weights
from moked.dialog import AgentFactory
from moked.dialog.business import Business
from moked.dialog.llm import LlmAgents
from moked.dialog.script import ScriptAgents
from moked.errors import ModelError
from moked.media.session import Phrases
from moked.settings import Settings
from moked.stt import Engine
from moked.stt.google import GoogleSettings, GoogleStreaming, GoogleUtterances, Survey, survey
from moked.stt.whisper_local import WhisperLocal
from moked.tts import Synthesizer
from moked.tts.cache import CachedSynthesizer
from moked.tts.google import GoogleVoice
from moked.tts.local import EspeakVoice, LocalVoice

_GOOGLE_PHRASES_AT_A_TIME = 4  # while the phrases are rendered ahead: the rest of its requests is for callers
BETTER_WHISPER = "ivrit-ai/whisper-large-v3-turbo-ct2"


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of what `moked up` tells: the part, what serves it, why, and what would be better ('' if nothing)."""

    part: str
    chosen: str
    why: str
    better: str = ""


def uses_google_speech(settings: Settings) -> bool:
    return bool(settings.speech_emulator_host or settings.google_application_credentials)


def uses_google_voice(settings: Settings) -> bool:
    return bool(settings.texttospeech_emulator_host or settings.google_application_credentials)


VOICE_WEIGHTS = ("nakdimon", "phonikud", "kokoro")


def needed_weights(settings: Settings) -> list[str]:
    """Names of the embedded weights these settings need. Those of the voice have a last resort, espeak-ng."""
    names = ["silero-vad"]
    if settings.whisper_model == "base" and (not uses_google_speech(settings) or settings.stt_fallback == "whisper"):
        names.append("whisper-base")
    if not uses_google_voice(settings):
        names += VOICE_WEIGHTS
    return names


def hearing(settings: Settings, business: Business) -> tuple[list[Engine], Choice]:
    """The recognition engines, most wanted first."""
    if not uses_google_speech(settings):
        better = "" if settings.whisper_model != "base" else f"Google credentials, or WHISPER_MODEL={BETTER_WHISPER}"
        return [_whisper(settings)], Choice(
            "hearing", f"Whisper ({settings.whisper_model})", "no Google credentials are set", better
        )
    google = google_speech(settings)
    engines: list[Engine]
    name = "Google" if google.api == "v1" else f"Google {google.api} ({google.location})"
    if settings.enable_streaming_stt:
        engines, name = [GoogleStreaming(google)], f"{name}, streaming"
    else:
        engines, name = [GoogleUtterances(google)], f"{name}, whole utterances"
    why = "SPEECH_EMULATOR_HOST is set" if settings.speech_emulator_host else "Google credentials are set"
    if settings.stt_fallback == "whisper":
        engines.append(_whisper(settings))
        return engines, Choice("hearing", f"{name}; Whisper ({settings.whisper_model}) if it fails", why)
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


def voice(settings: Settings, business: Business) -> tuple[Synthesizer, Choice]:
    """The voice, behind its cache."""
    gender = "m" if business.voice_gender == "male" else "f"
    inner: GoogleVoice | LocalVoice | EspeakVoice
    if uses_google_voice(settings):
        inner = _google_voice(settings, gender)
        emulated = bool(settings.texttospeech_emulator_host)
        why = "TEXTTOSPEECH_EMULATOR_HOST is set" if emulated else "Google credentials are set"
        choice = Choice("voice", f"Google {settings.tts_voice}", why)
    elif _installed(settings, *VOICE_WEIGHTS):
        inner = local_voice(settings, voice="jm_kumo" if gender == "m" else "jf_alpha", gender=gender)
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
    return cache, choice


def _installed(settings: Settings, *names: str) -> bool:
    return all(weights.available(name, root=settings.models_root) for name in names)


def local_voice(settings: Settings, *, voice: str, gender: str) -> LocalVoice:
    """The embedded Hebrew voice; also the caller's in rehearsals."""
    root = settings.models_root
    nakdimon, kokoro = weights.path("nakdimon", root=root), weights.path("kokoro", root=root)
    return LocalVoice(nakdimon, kokoro, voice=voice, rate=settings.tts_rate, gender=gender)


def agents(settings: Settings, business: Business) -> tuple[AgentFactory, Choice]:
    """The agent: a language model where one is configured, else the script."""
    if settings.openai_api_key is None and not settings.openai_base_url:
        chosen = ScriptAgents(business, settings.agent_script)
        return chosen, Choice(
            "agent", "script", "no language model is set", "OPENAI_API_KEY, or OPENAI_BASE_URL of any compatible server"
        )
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key is not None else ""
    model = LlmAgents(
        business,
        model=settings.llm_model,
        api_key=key,
        base_url=settings.openai_base_url,
        timeout_s=settings.llm_timeout_s,
    )
    why = "OPENAI_BASE_URL is set" if settings.openai_base_url else "OPENAI_API_KEY is set"
    return model, Choice("agent", settings.llm_model, why)


def phrases(business: Business) -> Phrases:
    """What the session says itself when the agent cannot."""
    male = business.voice_gender == "male"
    connecting = "מעביר" if male else "מעבירה"
    sorry = "מתנצל" if male else "מתנצלת"
    way_on = f"אני {connecting} אתכם לנציג." if business.transfer_number else "נחזור אליכם בהקדם. להתראות."
    return Phrases(
        sorry_again="סליחה, לא קלטתי. אפשר לחזור על זה?",
        sorry_broken=f"אני {sorry}, יש לי תקלה. {way_on}",
        too_long="הגענו לסוף הזמן של השיחה. הפרטים נרשמו, ונחזור אליכם. להתראות.",
        back="סליחה על ההפסקה הקצרה, אני איתכם.",
        say_again="סליחה, הקו נקטע לרגע. אפשר לחזור על מה שאמרתם?",
    )


def _whisper(settings: Settings) -> WhisperLocal:
    model = settings.whisper_model
    if model == "base":
        return WhisperLocal(weights.path("whisper-base", root=settings.models_root))
    return WhisperLocal(Path(model) if Path(model).is_dir() else model)


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def all_phrases(agents: AgentFactory, fixed: Phrases) -> Sequence[str]:
    """Every sentence worth rendering ahead of time, most urgent first."""
    words = (fixed.sorry_again, fixed.back, fixed.say_again, fixed.sorry_broken, fixed.too_long)
    return (*agents.phrases(), *words)
