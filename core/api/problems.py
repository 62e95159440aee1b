"""Errors as RFC 9457 problem documents, with the same words that the pages show."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from core.errors import (
    AlertsFailed,
    BadFile,
    ConfigError,
    DataError,
    LakeMissing,
    NotEnoughData,
    PerpduckError,
    ReadStopped,
    ScanRunning,
    StoreBusy,
    StoreFull,
    StoreMissing,
    WorkerRunning,
    WrongFile,
    WrongVenue,
)

MEDIA = "application/problem+json"
# What a client that was told "busy" should wait, in seconds.
RETRY_S = 1

# The first that fits decides; what is on purpose but none of these is the server's own trouble.
_STATUS: tuple[tuple[type[PerpduckError], int], ...] = (
    (ReadStopped, 422),
    (StoreBusy, 503),
    (StoreFull, 507),
    (StoreMissing, 404),
    (LakeMissing, 500),
    (WrongFile, 500),
    (ConfigError, 500),
    (WrongVenue, 409),
    (WorkerRunning, 409),
    (ScanRunning, 409),
    (NotEnoughData, 422),
    (BadFile, 422),
    (DataError, 400),
    (AlertsFailed, 503),
    (PerpduckError, 503),
)


class Problem(Exception):
    """An answer that says no: the HTTP status, words for a person, and what may be given."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


def problem_of(error: PerpduckError) -> Problem:
    """Return the problem that one of our own errors is to a program."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    # Only what is busy passes by waiting; what takes too long would again.
    is_busy = isinstance(error, StoreBusy) and not isinstance(error, ReadStopped)
    headers = {"Retry-After": str(RETRY_S)} if is_busy else None
    return Problem(status, sentence(str(error)), headers=headers)


def problem_response(problem: Problem) -> Response:
    """Return the problem as it is sent."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.members,
    }
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(msgspec.json.encode(body), problem.status, headers, MEDIA)


def bad_parameter(name: str, detail: str, allowed: object = None) -> Problem:
    """Return the problem of a parameter that cannot be used, with what is allowed."""
    # A parameter's name stays as it is written.
    words = detail if name and detail.startswith(name) else sentence(detail)
    problem = Problem(400, f"{words.rstrip('.')}.", parameter=name)
    if allowed is not None:
        problem.members["allowed"] = allowed
    return problem


def sentence(words: str) -> str:
    """Return an error's words as a sentence."""
    first = words.partition(" ")[0]
    begun = f"{words[:1].upper()}{words[1:]}" if "://" not in first else words
    return begun.rstrip(".") + "." if words else ""
