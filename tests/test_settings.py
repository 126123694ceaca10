"""Settings: defaults as promised, errors that name the variable, secrets that stay secret."""

import stat
import threading
from pathlib import Path

import pytest

from moked.errors import SettingsError
from moked.settings import Settings, default_root, ensure_local_secret, load_settings

PROMISED = {
    "enable_streaming_stt": True,
    "stt_batch_ms": 150,
    "stt_partial_debounce_ms": 180,
    "gcp_stt_api": "v1",
    "gcp_stt_location": "global",
    "gcp_stt_model": "phone_call",
    "gcp_stt_language": "he-IL",
    "gcp_stt_punctuation_interim": False,
    "gcp_stt_punctuation_final": True,
    "tts_voice": "he-IL-Wavenet-D",
    "tts_rate": 0.96,
    "tts_pitch": -2.0,
}


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No settings but the test's own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def _env_file(text):
    Path(".env").write_text(text, "utf-8")


def test_the_promised_defaults():
    settings = load_settings()
    assert {name: getattr(settings, name) for name in PROMISED} == PROMISED
    assert settings.database == "sqlite:///data/moked.db"
    assert settings.twilio_auth_token is None
    assert settings.warnings == ()


def test_a_location_or_a_project_without_v2_is_a_warning(monkeypatch):
    monkeypatch.setenv("GCP_STT_LOCATION", "EU")
    monkeypatch.setenv("GCP_PROJECT", "my-project")
    location, project = load_settings().warnings
    assert location.startswith("GCP_STT_LOCATION: it is for GCP_STT_API=v2")
    assert project.startswith("GCP_PROJECT: it is for GCP_STT_API=v2")
    monkeypatch.setenv("GCP_STT_API", "V2")
    settings = load_settings()
    assert (settings.warnings, settings.gcp_stt_api, settings.gcp_stt_location) == ((), "v2", "eu")


def test_environment_wins_over_the_file_and_empty_is_unset(monkeypatch):
    _env_file("PORT=9000\nHOST=0.0.0.0\nTTS_RATE=\n")
    monkeypatch.setenv("PORT", "9001")
    monkeypatch.setenv("HOST", "")
    settings = load_settings()
    assert (settings.port, settings.host, settings.tts_rate) == (9001, "0.0.0.0", 0.96)


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("TTS_RATE", "5", "0.25 to 2.0"),
        ("TTS_RATE", "nan", "0.25 to 2.0"),
        ("TTS_PITCH", "-21", "-20.0 to 20.0"),
        ("STT_BATCH_MS", "10", "20 to 1000"),
        ("STT_PARTIAL_DEBOUNCE_MS", "-1", "0 to 2000"),
        ("GCP_STT_API", "v3", "v1 or v2"),
        ("GCP_STT_LOCATION", "https://eu-speech.googleapis.com", "global, us, eu or a region such as europe-west4"),
        ("GCP_STT_LOCATION", "eu west", "europe-west4"),
        ("GCP_PROJECT", "projects/mine", "a project's ID or number"),
        ("GCP_STT_MAX_STREAMS", "-1", "0 to 1000"),
        ("PORT", "70000", "1 to 65535"),
        ("PORT", "http", "1 to 65535"),
        ("SPEECH_EMULATOR_HOST", "localhost", "host:port"),
        ("TEXTTOSPEECH_EMULATOR_HOST", "http://localhost:1", "host:port"),
        ("SPEECH_EMULATOR_HOST", "localhost:99999", "host:port"),
        ("PUBLIC_BASE_URL", "https://phone.example.com/twilio", "https://phone.example.com"),
        ("PUBLIC_BASE_URL", "phone.example.com", "https://phone.example.com"),
        ("PUBLIC_BASE_URL", "https://phone.example.com?x=1", "https://phone.example.com"),
        ("PUBLIC_BASE_URL", "https://phone.example.com:port", "https://phone.example.com"),
        ("DATABASE_URL", "mysql://x/y", "postgresql+psycopg://"),
        ("DATABASE_URL", "postgres://x/y", "postgresql+psycopg://"),
        ("REDIS_URL", "localhost:6379", "redis://"),
        ("ENABLE_STREAMING_STT", "maybe", "true or false"),
        ("LOG_FORMAT", "xml", "json"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "no-such.json", "can be read"),
        ("GCP_STT_LANGUAGE", "Hebrew language", "he-IL"),
    ],
)
def test_an_error_names_the_variable_and_what_would_be_right(monkeypatch, name, value, right):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    assert text.startswith(f"{name}: ")
    assert right in text
    assert "\n" not in text


def test_several_errors_come_together(monkeypatch):
    monkeypatch.setenv("PORT", "0")
    _env_file("TTS_RATE=fast\n")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert {line.split(":")[0] for line in str(caught.value).splitlines()} == {"PORT", "TTS_RATE"}


def test_good_forms_are_taken(monkeypatch):
    for name, value in {
        "PUBLIC_BASE_URL": "https://phone.example.com/",
        "SPEECH_EMULATOR_HOST": "[::1]:9090",
        "DATABASE_URL": "postgresql://moked:pw@db/moked",
        "LOG_LEVEL": "debug",
        "OPENAI_BASE_URL": "https://generativelanguage.example/v1beta/openai/",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.public_base_url == "https://phone.example.com"
    assert settings.log_level == "DEBUG"
    assert settings.openai_base_url.endswith("/openai")


def test_secrets_are_not_shown(monkeypatch):
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "hush-hush")
    monkeypatch.setenv("DATABASE_URL", "postgresql://moked:hush-hush@db/moked")
    assert "hush" not in repr(load_settings())
    monkeypatch.setenv("DATABASE_URL", "mysql://moked:hush-hush@db/moked")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hush" not in str(caught.value)


def test_a_secret_may_be_in_a_file(monkeypatch):
    Path("token").write_text("  from-file\n")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN_FILE", "token")
    token = load_settings().twilio_auth_token
    assert token is not None
    assert token.get_secret_value() == "from-file"
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "too")
    with pytest.raises(SettingsError, match="TWILIO_AUTH_TOKEN_FILE"):
        load_settings()
    monkeypatch.delenv("TWILIO_AUTH_TOKEN")
    Path("token").write_text("\n")
    with pytest.raises(SettingsError, match="TWILIO_AUTH_TOKEN_FILE: the file is empty"):
        load_settings()


def test_likely_typos_are_warned_about_and_foreign_names_are_not():
    _env_file("TTS_VIOCE=x\nCOMPOSE_PROJECT_NAME=shop\ntts_rate=1.1\nthis is no line\n")
    settings = load_settings()
    assert settings.tts_rate == 1.1
    assert settings.warnings == (
        ".env: TTS_VIOCE is not a setting. Did you mean TTS_VOICE?",
        ".env, line 4: this is not NAME=value, and is ignored.",
    )


def test_an_unreadable_env_file_is_named():
    Path(".env").write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        load_settings()


def test_models_live_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_settings().models_root == default_root() == tmp_path / "moked" / "models"
    monkeypatch.setenv("MODELS_DIR", "here")
    assert load_settings().models_root == Path("here")


def test_the_local_secret_is_made_once_and_is_private(tmp_path):
    folder = tmp_path / "new" / "data"
    tokens = []
    threads = [threading.Thread(target=lambda: tokens.append(ensure_local_secret(folder))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8
    assert len(set(tokens)) == 1
    assert len(tokens[0]) == 32
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert ensure_local_secret(folder) == tokens[0]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_broken_local_secret_says_what_to_do(tmp_path):
    (tmp_path / "local_auth_token").write_text("short")
    with pytest.raises(SettingsError, match="Delete the file"):
        ensure_local_secret(tmp_path)
    with pytest.raises(SettingsError, match="DATA_DIR"):
        ensure_local_secret(tmp_path / "local_auth_token")


def test_the_data_key_is_made_once_and_never_replaced(tmp_path):
    import base64

    from moked.settings import ensure_data_key

    made = ensure_data_key(Settings(_env_file=None, data_dir=tmp_path))
    assert len(made) == 32
    assert (tmp_path / "data_key").stat().st_mode & 0o777 == 0o600
    assert ensure_data_key(Settings(_env_file=None, data_dir=tmp_path)) == made
    given = base64.b64encode(b"x" * 32).decode()
    assert ensure_data_key(Settings(_env_file=None, data_dir=tmp_path, data_key=given)) == b"x" * 32
    for wrong in ("short", base64.b64encode(b"x" * 16).decode()):
        with pytest.raises(SettingsError, match="DATA_KEY"):
            ensure_data_key(Settings(_env_file=None, data_dir=tmp_path, data_key=wrong))
    (tmp_path / "data_key").write_text("broken")
    with pytest.raises(SettingsError, match="data_key"):
        ensure_data_key(Settings(_env_file=None, data_dir=tmp_path))
    assert (tmp_path / "data_key").read_text() == "broken"
