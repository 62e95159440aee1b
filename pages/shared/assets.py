"""The scripts that our components need in the browser, served by routes of our own.

The addresses carry the content's hash, so they may be cached for ever and change with it.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.palette import PALETTE

PREFIX = "/perpduck/assets"
SCRIPTS = ("live_chart", "figure", "upload")
STYLES = ("live_chart.css", "figure.css", "upload.css")
_STUB = """
export default async function (component) {{
  const base = document.querySelector("base")?.href ?? location.origin + "/"
  const figure = await import(new URL({path!r}, base).href)
  return figure.default(component)
}}
"""
_HERE = Path(__file__).parent
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}


def plotly_path() -> str:
    """Return where the browser finds plotly.min.js, below the app's base path."""
    return f"{PREFIX}/plotly-{version('plotly')}.min.js"


def script_path(name: str) -> str:
    """Return where the browser finds a component's module, one of `SCRIPTS`."""
    return f"{PREFIX}/{name}-{hashlib.sha256(_text(name).encode()).hexdigest()[:16]}.js"


def module_stub(name: str) -> str:
    """Return the few lines that fetch a component's module from its cached route.

    Streamlit sends a component's code with every refresh, so there is next to none of it.
    """
    base = str(st.get_option("server.baseUrlPath")).strip("/")
    return _STUB.format(path=f"{'/' + base if base else ''}{script_path(name)}")


def asset_routes() -> list[Route]:
    """Return the routes of all scripts; they answer GET and HEAD and nothing else."""
    routes = [
        Route(script_path(name), _answer(functools.partial(_script, name))) for name in SCRIPTS
    ]
    return [Route(plotly_path(), _answer(_plotly)), *routes]


@functools.cache
def _text(name: str) -> str:
    head = (
        f"const PALETTE = {json.dumps(PALETTE)}\n"
        f"const CSS = {json.dumps(''.join(map(_file, STYLES)))}\n"
        f'const PLOTLY_URL = new URL("{Path(plotly_path()).name}", import.meta.url).href\n'
    )
    return head + _file("plotly.js") + _file(f"{name}.js")


def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@functools.cache
def _script(name: str) -> tuple[bytes, bytes]:
    plain = _text(name).encode()
    return plain, gzip.compress(plain, 9)


@functools.cache
def _plotly() -> tuple[bytes, bytes]:
    plain = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return plain, gzip.compress(plain, 6)


def _answer(load: Callable[[], tuple[bytes, bytes]]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        plain, packed = load()
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers = _HEADERS | {"Content-Encoding": "gzip"}
            return Response(packed, media_type="text/javascript", headers=headers)
        return Response(plain, media_type="text/javascript", headers=_HEADERS)

    return endpoint
