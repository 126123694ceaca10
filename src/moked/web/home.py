"""The front page. Until somebody can log in it says that the product is up, and what to do next: no scripts, nothing
secret. From then on it is the way to the desk.
"""

import base64
import hashlib
from typing import Final

from flask import Blueprint, Response, redirect, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.web.parts import WebParts

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2a33;--soft:#5c6b75;--paper:#fbf9f5;--card:#fff;--line:#e5dfd4;--sea:#0b6e6e}
@media(prefers-color-scheme:dark){
:root{--ink:#e9eef0;--soft:#a3b0b8;--paper:#11181c;--card:#182126;--line:#2a363d;--sea:#5cc4bd}
}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:2rem 1rem;
background:var(--paper);color:var(--ink);font:1.06rem/1.65 "Heebo","Assistant","Segoe UI",Arial,sans-serif}
main{max-width:38rem;width:100%}
h1{margin:0;font-size:2rem;letter-spacing:-.01em}
.up{color:var(--sea);font-weight:600;margin:.2rem 0 1.6rem}
.up::before{content:"";display:inline-block;width:.6em;height:.6em;border-radius:50%;
background:var(--sea);margin-inline-end:.5em}
ol{margin:0;padding:0;list-style:none;counter-reset:step;display:grid;gap:.8rem}
li{counter-increment:step;background:var(--card);border:1px solid var(--line);border-radius:.8rem;padding:1rem 1.2rem;
line-height:1.9}
li::before{content:counter(step);float:inline-start;color:var(--sea);font-weight:700;margin-inline-end:.7rem}
li strong{display:block}
code{direction:ltr;unicode-bidi:isolate;display:inline-block;max-width:100%;overflow-wrap:anywhere;background:var(--paper);
border:1px solid var(--line);border-radius:.4rem;padding:0 .45rem;font:.88em/1.7 ui-monospace,Menlo,Consolas,monospace}
footer{margin-top:1.6rem;color:var(--soft);font-size:.92rem}
"""
_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)


def blueprint(parts: WebParts) -> Blueprint:
    """`/`."""
    views = Blueprint("home", __name__, template_folder="templates")

    @views.get("/")
    def home() -> AnyResponse:
        if parts.desk is not None and parts.desk.access.anybody():
            return redirect(url_for("desk.board"))
        base = parts.public_base_url()
        page = render_template(
            "home.html",
            style=_STYLE,
            business=parts.business_name,
            webhook=f"{base}/webhook/incoming_call",
            status=f"{base}/webhook/call_status",
            desk=parts.desk is not None,
            reachable=base.startswith("https://"),
        )
        answer = Response(page, mimetype="text/html")
        answer.headers["Content-Security-Policy"] = _POLICY
        return answer

    return views
