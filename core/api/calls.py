"""One request as its handler sees it, and what a route is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from core.api.answers import etag_of, is_known

Method = Literal["GET", "POST", "DELETE"]
# Which threads answer: what computes for long has some of its own, so that the rest goes on.
Threads = Literal["answers", "analyses", "backtests"]


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked: the parts of the path, the query, the body, and what the asker has."""

    path: Mapping[str, str]
    query: Any
    body: Any = None
    if_none_match: str = ""

    def etag(self, *parts: object) -> str:
        """Return the ETag of the answer that depends on the call and on ``parts``."""
        return etag_of(sorted(self.path.items()), self.query, *parts)

    def has(self, etag: str) -> bool:
        """Return whether the asker already has that answer."""
        return bool(self.if_none_match) and is_known(etag, self.if_none_match)


Handler = Callable[[Call], Response]
AsyncHandler = Callable[[Call, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: how it is asked, how it answers, and its words.

    ``answers`` are media by status, ``replies`` the structs of those in JSON; ``problems`` the
    statuses that it may refuse with. ``form`` are the fields of a multipart body with their words.
    ``has_etag``: what was got of it can be asked about again.
    """

    method: Method
    path: str
    summary: str
    query: type[Struct]
    handler: Handler | None = None
    async_handler: AsyncHandler | None = None
    words: str = ""
    body: type[Struct] | None = None
    form: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[int, tuple[str, ...]] = field(
        default_factory=lambda: {200: ("application/json",)}
    )
    replies: Mapping[int, Any] = field(default_factory=dict)
    problems: tuple[int, ...] = ()
    tag: str = ""
    has_etag: bool = False
    threads: Threads = "answers"
    example: str = ""
