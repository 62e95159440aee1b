"""Who may ask: one gate before the pages, the API and both their WebSockets.

On this machine alone nothing is asked for. Bound elsewhere a token is, or Streamlit's own login.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.api.access import REFUSED, SESSION_S, Access, is_loopback, is_origin_of
from core.api.limits import (
    WRONG_COST,
    Limits,
    address_of,
    announced_bytes,
    count_refusal,
    demand_size,
    patient,
)
from core.api.problems import Problem, problem_response
from core.api.sign_in import MOST_BYTES, SIGN_IN, sign_in

API, LIVE = "/api", "/ws/live"
COOKIE = "perpduck_session"
# Says "ok" and nothing else: for whoever keeps the process alive.
OPEN_PATHS = ("/_stcore/health",)
_READS = ("GET", "HEAD", "OPTIONS")
_OWN_SITES = ("", "same-origin", "none")
_BODIES = ("application/json", "multipart/form-data")
_POLICY_VIOLATION = 1008
# So much of an unwanted body is read and forgotten; a connection with more to come is closed.
_FORGOTTEN_BYTES = 64 << 10
# What a page of a listed site may send and read besides what any may.
_SENT = ("Authorization", "If-None-Match", "Range")
_READ = ("ETag", "Location", "Retry-After", "Content-Disposition", "Allow", "WWW-Authenticate")
# The server takes an asker's address from a proxy on this machine.
_PROXIED = (
    "This comes from {address}, through a proxy. Where others get in by one, set "
    "PERPDUCK_API_TOKEN, or PERPDUCK_API_OPEN=1 if everybody may use it."
)
_BEARER = {"WWW-Authenticate": 'Bearer realm="perpduck"'}


class Guard:
    """ASGI middleware: lets in who may, and keeps what others send within limits."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits) -> None:
        self._app = app
        self._access = access
        self._limits = limits
        self._to_sites = CORSMiddleware(
            self._answer, access.origins, ("GET", "HEAD", "POST", "DELETE"), _SENT,
            expose_headers=_READ, allow_private_network=True,
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request or a connection through, or answer it here."""
        if scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        elif scope["type"] == "http":
            answer, most = self._answer, None
            if is_api(path := path_of(scope)):
                most = self._limits.body_bytes(path)
                # Only the API's answers are for other sites, and only for those listed.
                answer = self._to_sites if self._access.origins else self._answer
            elif path == SIGN_IN:
                most = MOST_BYTES
            await patient(answer, self._limits, most, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, headers = path_of(scope), Headers(scope=scope)
        with contextlib.ExitStack() as turn:
            try:
                if path == SIGN_IN and self._access.token:
                    self._demand_form(scope, headers)
                elif path not in OPEN_PATHS:
                    self._demand(scope, headers, is_ours=is_api(path))
                if is_api(path):
                    demand_size(headers, self._limits.body_bytes(path))
                    _demand_kind(scope, headers)
                    turn.enter_context(self._limits.turn(scope))
            except Problem as problem:
                count_refusal(scope, problem)
                await self._refuse(problem, scope, headers, receive, send)
                return
            if path == SIGN_IN and self._access.token:
                await sign_in(self._access, COOKIE, SESSION_S, scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._demand(scope, Headers(scope=scope), is_ours=path_of(scope).startswith(LIVE))
        except Problem as problem:
            await self._pause(problem)
            await refuse_socket(problem, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _demand_form(self, scope: Scope, headers: Headers) -> None:
        self._limits.count(scope)
        self._demand_own_site(scope, headers)
        self._limits.count_sign_in(scope)
        demand_size(headers, MOST_BYTES)

    def _demand(self, scope: Scope, headers: Headers, *, is_ours: bool) -> None:
        self._demand_own_name(headers.get("host", ""))
        if is_ours:
            self._limits.count(scope)
        self._demand_entry(scope, headers, is_ours=is_ours)
        self._demand_own_site(scope, headers)

    def _demand_own_name(self, host: str) -> None:
        """Refuse a foreign name that was made to lead here: its pages are of the same origin."""
        access = self._access
        if not (access.is_protected or access.is_open or access.is_own_name(host)):
            raise Problem(
                403, f"This server is not called {host[:80]!r}; use 127.0.0.1 or localhost, or "
                "list its other names in PERPDUCK_API_ORIGINS (behind a proxy, set "
                "PERPDUCK_API_TOKEN instead).",
            )  # fmt: skip

    def _demand_entry(self, scope: Scope, headers: Headers, *, is_ours: bool) -> None:
        access = self._access
        server, port = scope.get("server") or ("", None)
        client = (scope.get("client") or ("",))[0]
        if access.token:
            self._demand_token(scope, headers, is_ours=is_ours)
        elif access.is_open:
            return
        elif access.is_login:
            if is_ours:
                words = "Set PERPDUCK_API_TOKEN and send it as Authorization: Bearer: the login of "
                raise Problem(401, f"{words}the pages is not one for programs.", headers=_BEARER)
        elif server and port is not None and not is_loopback(server):
            # Bound by another program than Streamlit, which the check at the start did not see.
            raise Problem(403, REFUSED.format(address=server))
        elif client and not is_loopback(client):
            raise Problem(403, _PROXIED.format(address=client[:80]))

    def _demand_token(self, scope: Scope, headers: Headers, *, is_ours: bool) -> None:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            if not is_ours:
                self._limits.count(scope)
            # A header's bytes come as Latin-1, whatever they were written in.
            if self._access.is_token(given.strip().encode("latin-1").decode(errors="replace")):
                return
            self._limits.rates.wait_s(address_of(scope), WRONG_COST)
        else:
            kept = cookie_parser(headers.get("cookie", "")).get(COOKIE)
            if kept is not None and self._access.is_session(kept):
                return
            if not is_ours:
                self._limits.count(scope)
        words = "Sign in, or send the token as Authorization: Bearer."
        raise Problem(401, words, headers=_BEARER)

    def _demand_own_site(self, scope: Scope, headers: Headers) -> None:
        """Refuse what a page of another site makes a browser send; programs say no site."""
        if scope["type"] == "http" and scope["method"] in _READS:
            return
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is not None and origin in self._access.origins:
            return
        site = headers.get("sec-fetch-site", "").strip().lower()
        if site not in _OWN_SITES or (origin is not None and not is_origin_of(origin, host)):
            words = "Another site's page asks for this; list its origin in PERPDUCK_API_ORIGINS."
            raise Problem(403, words)

    async def _refuse(
        self, problem: Problem, scope: Scope, headers: Headers, receive: Receive, send: Send
    ) -> None:
        await self._pause(problem)
        if announced_bytes(headers) > _FORGOTTEN_BYTES:
            problem.headers["Connection"] = "close"
        wants_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        if problem.status == 401 and wants_page and self._access.token:
            await _lead_to_sign_in(scope, send)
        else:
            await problem_response(problem)(scope, receive, send)

    async def _pause(self, problem: Problem) -> None:
        if problem.status == 429:
            await asyncio.sleep(self._limits.pause_s)


def path_of(scope: Scope) -> str:
    """Return the path below the one at which the whole app is mounted, as the routes see it."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def is_api(path: str) -> bool:
    """Return whether a path is one of the API's."""
    return path == API or path.startswith((f"{API}/", LIVE))


def _demand_kind(scope: Scope, headers: Headers) -> None:
    """Refuse bodies that a form of another site's page can send without asking."""
    if scope["method"] in _READS or not announced_bytes(headers):
        return
    given = headers.get("content-type", "").split(";")[0].strip().lower()
    if given not in _BODIES:
        wanted = "application/json or multipart/form-data, as the route takes it"
        raise Problem(415, f"Content-Type is {given[:80] or 'not given'}; send {wanted}.")


async def _lead_to_sign_in(scope: Scope, send: Send) -> None:
    query = scope.get("query_string", b"").decode("latin-1")
    place = scope["path"] + (f"?{query}" if query else "")
    where = f"{scope.get('root_path', '')}{SIGN_IN}?next={quote(place, safe='')}"
    headers = [(b"location", where.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def refuse_socket(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a WebSocket's handshake with a refusal, and why where the server can say so."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await problem_response(problem)(scope, receive, send)
        return
    await receive()
    closing: Message = {"type": "websocket.close", "code": _POLICY_VIOLATION}
    await send(closing)
