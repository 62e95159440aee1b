"""The page on which a browser gives the token, and gets a cookie for it."""

from __future__ import annotations

from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from core.api.access import Access

SIGN_IN = "/perpduck/sign-in"
MOST_BYTES = 8_192
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_pages = Environment(loader=PackageLoader("core.api"), autoescape=True)


async def sign_in(
    access: Access, cookie: str, lasts_s: int, scope: Scope, receive: Receive, send: Send
) -> None:
    """Show the form, or take the token and send the browser on to where it wanted to go."""
    request = Request(scope, receive)
    place = own_place(request.query_params.get("next", "/"))
    path = f"{scope.get('root_path', '')}{SIGN_IN}"
    if request.method != "POST":
        await _form(path, place)(scope, receive, send)
        return
    given = await _given(request)
    if given is None or not access.is_token(given):
        wrong = "That is not the token of this server."
        await _form(path, place, wrong, 401)(scope, receive, send)
        return
    answer = RedirectResponse(place, 303, {"Cache-Control": "no-store"})
    answer.set_cookie(
        cookie, access.session(), max_age=lasts_s, path="/", httponly=True, samesite="strict",
        secure=scope["scheme"] == "https",
    )  # fmt: skip
    await answer(scope, receive, send)


async def _given(request: Request) -> str | None:
    """Return the token of the form, None where there is none to be had."""
    try:
        return parse_qs((await request.body()).decode(), strict_parsing=True)["token"][0].strip()
    except (ValueError, KeyError):
        return None


def own_place(place: str) -> str:
    """Return the path to go on to; one that leads to another site becomes the first page."""
    is_own = place.startswith("/") and not place.startswith(("//", "/\\")) and place.isprintable()
    return place if is_own and "\\" not in place else "/"


def _form(path: str, place: str, error: str = "", status: int = 200) -> Response:
    page = _pages.get_template("sign_in.html").render(place=place, error=error, path=path)
    return HTMLResponse(page, status, _HEADERS)
