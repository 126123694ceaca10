"""A WhatsApp server to test against, and the bridge installed once for all tests that use it."""

import base64
import datetime
import hashlib
import ipaddress
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from moked.channels import install

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "emulators" / "whatsapp"
PN, LID = "972501111111", "88000111"


def installed_bridge() -> Path:
    """The bridge's folder. Without Node the test is skipped, but in CI its absence is a failure."""
    if not (shutil.which("node") and shutil.which("npm")):
        if os.environ.get("CI"):
            pytest.fail("CI must have Node 20 and npm")
        pytest.skip("Node and npm are not installed")
    lock = (install.sources() / "package-lock.json").read_bytes()
    kept = Path(tempfile.gettempdir()) / f"moked-bridge-{os.getuid()}-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (kept / ".installed").is_file():  # fetched once a machine; the sources are those of now
        install.install(kept)
    for path in install._sources(install.sources()):
        shutil.copyfile(path, kept / path.name)
    (kept / ".installed").write_text(install.digest(install.sources()), "ascii")
    return kept


def certificate(folder: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, and its key, as files: media is left over https alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "media of the emulator")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "media.crt", folder / "media.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paths


class WhatsAppServer:
    """`emulators/whatsapp/server.mjs` in a process of its own; it uses Baileys' own wire code, as installed. With
    `secure`, the files of `certificate`, devices can leave media there."""

    def __init__(self, bridge: Path, secure: tuple[Path, Path] | None = None):
        self.secure = secure
        folder = bridge / "emulator"
        folder.mkdir(exist_ok=True)
        for path in SERVER.glob("*.mjs"):
            shutil.copyfile(path, folder / path.name)
        self.process = subprocess.Popen(["node", folder / "server.mjs", *(secure or ())], stdout=subprocess.PIPE)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/ws/chat"

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    def post(self, path, **asked):
        answer = self.http.post(path, json=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def scan(self, qr):
        self.post("/scan", qr=qr, pn=PN, lid=LID)

    def type(self, code):
        """Whether it was the right one."""
        return self.post("/type", code=code, pn=PN, lid=LID)["linked"]

    def say(self, pn, text="", **more):
        return self.post("/say", pn=pn, **({"text": text} if text else {}), **more)["id"]

    def fault(self, **faults):
        self.post("/fault", **faults)

    def state(self):
        return self.http.get("/state").json()

    def got(self, pn):
        """Texts that person has on their phone, in order, each message once."""
        return [each["text"] for each in self.state()["got"].get(pn, [])]

    def heard(self, pn):
        """Voice notes that person has, as their phone has them."""
        notes = [each["voice"] for each in self.state()["got"].get(pn, []) if "voice" in each]
        return [{**note, "sound": base64.b64decode(note["sound"])} for note in notes]

    def close(self):
        self.http.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
