"""Where the browser's files arrive: a route of our own that writes them to disk as they come.

Streamlit's uploader keeps files in memory; an archive of several gigabytes must not be there. The
route takes a file only with a token that a page gave out, from a page of this very address.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from core.api.access import is_origin_of

PATH = "/perpduck/upload"
TOKEN_HEADER = "X-Perpduck-Token"
# What an upload must leave free: the import needs room beside it, and so does the worker.
RESERVE_BYTES = 512 << 20
BLOCK_BYTES = 4 << 20
NAME_BYTES = 180
# A grant that no page renewed for this long is over; so is a half upload without its writer.
GRANT_S = 24 * 3600.0
GRANTS = 1000
PART = ".part"


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to put files into one folder."""

    folder: Path
    renewed_at: float


class Refusal(Exception):
    """An upload that is not taken: the HTTP status, and words for a person."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


_grants: OrderedDict[str, Grant] = OrderedDict()
_guard = threading.Lock()


def allow(folder: Path, token: str | None = None) -> str:
    """Return a token for uploads into ``folder``: the one given, renewed, or a new one."""
    token = token or secrets.token_urlsafe(32)
    with _guard:
        _grants[token] = Grant(folder, time.monotonic())
        _grants.move_to_end(token)
        while len(_grants) > GRANTS:
            _grants.popitem(last=False)
    return token


def upload_routes() -> list[Route]:
    """Return the route: POST asks whether a file would be taken, PUT brings it.

    A browser that is refused in the middle of a body often shows no answer, so it asks before.
    """
    return [Route(PATH, _receive, methods=["POST", "PUT"])]


async def _receive(request: Request) -> JSONResponse:
    try:
        grant = _granted(request)
        name = safe_name(request.query_params.get("name", ""))
        asks = request.method == "POST"
        told = request.query_params if asks else request.headers
        expected = _expected_bytes(told.get("bytes" if asks else "content-length", ""))
        await to_thread.run_sync(_demand_room, grant.folder, expected)
        if asks:
            return JSONResponse({"name": name})
        await _write(request, grant.folder, name, expected)
    except Refusal as refusal:
        headers = {"Connection": "close"}  # what is still on its way is not wanted
        return JSONResponse({"error": str(refusal)}, refusal.status, headers)
    return JSONResponse({"name": name, "bytes": expected}, 201)


def _granted(request: Request) -> Grant:
    """Return the request's grant; only a page of this address can have one."""
    origin = request.headers.get("origin", "")
    same = is_origin_of(origin, request.headers.get("host", ""))
    same = same and origin.startswith(("http://", "https://"))
    if not same or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Refusal(403, "Files are taken from Perpduck's own page only")
    with _guard:
        grant = _grants.get(request.headers.get(TOKEN_HEADER, ""))
    if grant is None or time.monotonic() - grant.renewed_at > GRANT_S:
        raise Refusal(403, "This page is too old to upload: reload it")
    return grant


def safe_name(name: str) -> str:
    """Return the file's own name if it is nothing but a name; raises Refusal otherwise."""
    bare = name.strip()
    if not bare or bare.startswith(".") or bare.endswith((".", PART)):
        raise Refusal(400, f"{bare[:60]!r} cannot be a file's name here: rename the file")
    if any(char in '/\\:*?"<>|' or not char.isprintable() for char in bare):
        raise Refusal(400, f"{bare[:60]!r} has characters that no file may have: rename it")
    if len(bare.encode()) > NAME_BYTES:
        raise Refusal(400, f"{bare[:60]!r}… is too long a name: {NAME_BYTES} bytes at most")
    return bare


def _expected_bytes(length: str) -> int:
    if not (length.isascii() and length.isdigit()):
        raise Refusal(411, "The browser did not say how large the file is")
    if not int(length):
        raise Refusal(400, "The file is empty")
    return int(length)


def _demand_room(folder: Path, expected: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if expected > free - RESERVE_BYTES:
        raise Refusal(
            507,
            f"It has {expected / 1e9:,.2f} GB, {free / 1e9:,.2f} GB are free and "
            f"{RESERVE_BYTES / 1e9:.1f} GB of them must stay so: make room, or import it where "
            "it lies with python -m core.imports",
        )


async def _write(request: Request, folder: Path, name: str, expected: int) -> None:
    """Stream the body into a part beside its place; it gets its name only when it is whole."""
    part = folder / f".{secrets.token_hex(8)}{PART}"
    try:
        file = await to_thread.run_sync(part.open, "xb")
        try:
            received = await _stream(request, file, expected)
        finally:
            await to_thread.run_sync(file.close)
        if received != expected:
            raise Refusal(400, f"{received:,} of {expected:,} bytes arrived: try again")
        await to_thread.run_sync(part.replace, folder / name)
    except ClientDisconnect:
        raise Refusal(400, "The browser went away in the middle") from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        words = "The disk is full: make room and try again" if full else "The disk refused it"
        raise Refusal(507 if full else 500, f"{words} ({error.strerror})") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


async def _stream(request: Request, file: BinaryIO, expected: int) -> int:
    """Write what comes, a block at a time and off the event loop; returns the bytes."""
    received, block = 0, bytearray()
    async for chunk in request.stream():
        received += len(chunk)
        if received > expected:
            raise Refusal(400, "More arrived than the browser had said")
        block += chunk
        if len(block) >= BLOCK_BYTES:
            await to_thread.run_sync(file.write, bytes(block))
            block.clear()
    await to_thread.run_sync(file.write, bytes(block))
    return received


def sweep(folder: Path) -> None:
    """Remove the half uploads whose writer is gone: a server that was killed leaves them."""
    oldest = time.time() - GRANT_S
    for part in folder.glob(f"**/.*{PART}"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < oldest:
                part.unlink()
