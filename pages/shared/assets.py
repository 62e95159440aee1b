"""The two scripts that the live chart needs in the browser, served by routes of our own.

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

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.palette import PALETTE

PREFIX = "/perpduck/assets"
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


def chart_path() -> str:
    """Return where the browser finds the live chart's module, below the app's base path."""
    return f"{PREFIX}/live_chart-{hashlib.sha256(_chart_text().encode()).hexdigest()[:16]}.js"


def asset_routes() -> list[Route]:
    """Return the routes of both scripts; they answer GET and HEAD and nothing else."""
    return [
        Route(plotly_path(), _answer(_plotly)),
        Route(chart_path(), _answer(_chart)),
    ]


@functools.cache
def _chart_text() -> str:
    head = (
        f"const PALETTE = {json.dumps(PALETTE)}\n"
        f"const CSS = {json.dumps((_HERE / 'live_chart.css').read_text(encoding='utf-8'))}\n"
        f'const PLOTLY_URL = new URL("{Path(plotly_path()).name}", import.meta.url).href\n'
    )
    return head + (_HERE / "live_chart.js").read_text(encoding="utf-8")


@functools.cache
def _chart() -> tuple[bytes, bytes]:
    plain = _chart_text().encode()
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
