"""One message to one target: a plain webhook gets JSON, all else goes through apprise."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import apprise
import httpx
import requests

from core.alerts.safety import Refused, guarded
from core.alerts.targets import HOOKS, PRIVATE_HELP, is_hook, service_of
from core.config import Settings
from core.trade_writer import utc_now

logger = logging.getLogger(__name__)

CONNECT_S, READ_S, TOTAL_S = 5.0, 10.0, 15.0
LONGEST_RETRY_AFTER_S = 3600.0
# The target will not take it the next time either.
FINAL = frozenset({301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 411, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class Message:
    """What is told: for people as title and body, for programs as ``events`` with their keys."""

    key: str
    title: str
    body: str
    events: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it; ``is_final``: to try again is of no use. The note holds no secret."""

    is_taken: bool
    note: str = ""
    retry_after_s: float | None = None
    is_final: bool = False


@dataclass(slots=True)
class _Seen:
    """The last answer that a service gave to apprise."""

    status: int = 0
    retry_after: str | None = None
    failure: str = field(default="")


_seen: ContextVar[_Seen | None] = ContextVar("seen", default=None)


def send(url: str, message: Message, settings: Settings) -> Answer:
    """Send a message and say what came of it; takes up to a quarter of a minute, never raises."""
    try:
        with guarded(allow_private=settings.alert_allow_private) as guard:
            answer = _post(url, message) if is_hook(url) else _notify(url, message)
    except Exception as error:
        # Whatever a service's code does, it must not end the delivery; its words may be secret.
        logger.debug("a message could not be sent: %s", type(error).__name__)
        answer = Answer(False, f"failed ({type(error).__name__})")
    if guard.refused and not answer.is_taken:
        return Answer(False, f"refused: {guard.refused}; {PRIVATE_HELP}", is_final=True)
    return answer


def _post(url: str, message: Message) -> Answer:
    payload: dict[str, object] = {
        "key": message.key,
        "title": message.title,
        "body": message.body,
        "events": list(message.events),
        "sent_at": f"{utc_now().isoformat(timespec='milliseconds')}Z",
    }
    try:
        content = json.dumps(payload, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError) as error:
        # It will not be otherwise the next time.
        return Answer(False, f"cannot be written as JSON ({type(error).__name__})", is_final=True)
    try:
        # Not whatever loop the process prefers: the guard hears of this one's connects.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            response = runner.run(_posted(url, message.key, content))
    except TimeoutError:
        return Answer(False, f"no answer within {TOTAL_S:.0f} s")
    except httpx.TimeoutException as error:
        what = "no connection" if isinstance(error, httpx.ConnectTimeout) else "no answer in time"
        return Answer(False, what)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Answer(False, f"could not be reached ({_kind(error)})")
    return judged(response.status_code, response.headers.get("retry-after"))


async def _posted(url: str, key: str, content: bytes) -> httpx.Response:
    """Post and return status and headers; the answer's body is left unread."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    scheme = HOOKS[parts.scheme.lower()]
    clean = urlunsplit((scheme, host, parts.path or "/", parts.query, ""))
    auth = (
        (unquote(parts.username or ""), unquote(parts.password or "")) if parts.username else None
    )
    limits = httpx.Timeout(READ_S, connect=CONNECT_S)
    headers = {
        "Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "Perpduck",
    }  # fmt: skip
    async with (
        asyncio.timeout(TOTAL_S),
        httpx.AsyncClient(timeout=limits, trust_env=False, follow_redirects=False) as client,
        client.stream("POST", clean, content=content, headers=headers, auth=auth) as response,
    ):
        return response


def _notify(url: str, message: Message) -> Answer:
    service = service_of(url)
    if service is None:
        return Answer(False, "the URL cannot be read", is_final=True)
    seen = _Seen()
    token = _seen.set(seen)
    _watch_requests()
    try:
        told = apprise.Apprise()
        told.add(service)
        body = f"{message.body}\n\n{message.key}"
        if told.notify(body=body, title=message.title):
            return Answer(True)
    finally:
        _seen.reset(token)
    if seen.status and not 200 <= seen.status < 300:
        return judged(seen.status, seen.retry_after)
    return Answer(False, f"{service.service_name} did not take it{seen.failure}")


def judged(status: int, retry_after: str | None = None) -> Answer:
    """Return what an HTTP status means for a delivery."""
    if 200 <= status < 300:
        return Answer(True)
    if 300 <= status < 400:
        return Answer(False, f"HTTP {status}: redirects are not followed", is_final=True)
    return Answer(False, f"HTTP {status}", wait_s(retry_after), status in FINAL)


def wait_s(retry_after: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After asks for, at most an hour; None where it says none."""
    if retry_after is None:
        return None
    with contextlib.suppress(ValueError):
        return min(max(0.0, float(retry_after)), LONGEST_RETRY_AFTER_S)
    with contextlib.suppress(ValueError, TypeError):
        at = email.utils.parsedate_to_datetime(retry_after)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        left = (at - (now or utc_now()).replace(tzinfo=UTC)).total_seconds()
        return min(max(0.0, left), LONGEST_RETRY_AFTER_S)
    return None


def _kind(error: BaseException) -> str:
    """Return what went wrong without its words, which may hold the address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, Refused):
            return f"{type(error).__name__}, errno {cause.errno}"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


@cache
def _watch_requests() -> None:
    """Have what apprise's services send through requests show its status, and follow nothing.

    apprise tells true or false only; how long to wait stands in the answer.
    """
    send_plainly: Callable[..., Any] = requests.Session.send

    def send_watched(session: Any, request: Any, **options: Any) -> Any:
        seen = _seen.get()
        if seen is None:
            return send_plainly(session, request, **options)
        options |= {"allow_redirects": False, "proxies": {}}
        try:
            response = send_plainly(session, request, **options)
        except requests.RequestException as error:
            seen.status, seen.failure = 0, f" ({type(error).__name__})"
            raise
        seen.status, seen.failure = response.status_code, ""
        seen.retry_after = response.headers.get("retry-after")
        return response

    requests.Session.send = send_watched  # type: ignore[assignment, method-assign]


def as_test(now: datetime | None = None) -> Message:
    """Return a message that says that a target works."""
    at = now or utc_now()
    key = f"test-{at:%Y%m%dT%H%M%S%f}"
    body = f"A test from Perpduck, {at:%Y-%m-%d %H:%M:%S} UTC. Alerts of your rules come this way."
    return Message(key, "Perpduck: test", body, [{"key": key, "name": "test", "is_test": True}])
