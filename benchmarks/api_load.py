"""Programs that ask the API, in a process of their own so that they do not slow what is asked.

Run by `benchmarks/api.py`; each prints what it saw as one line of JSON.

    python benchmarks/api_load.py bars PORT --symbols btcusdt,ethusdt --rate 50 --seconds 60
    python benchmarks/api_load.py unchanged PORT --symbols btcusdt --seconds 10
    python benchmarks/api_load.py pages PORT --symbols btcusdt,ethusdt --seconds 10
    python benchmarks/api_load.py listeners PORT --clients 200 --seconds 30
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

PAGE_MS = 100_000


class Caller:
    """A kept connection that speaks as much HTTP as is needed here."""

    def __init__(self, port: int, headers: str = "") -> None:
        self._port = port
        self._headers = headers
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str, etag: str = "") -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body; once more on a connection that was closed meanwhile."""
        for attempt in (1, 2):
            try:
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
                return await self._ask(path, etag)
            except (OSError, asyncio.IncompleteReadError):
                self._streams = None
                if attempt == 2:
                    raise
        raise AssertionError

    async def _ask(self, path: str, etag: str) -> tuple[int, dict[str, str], bytes]:
        assert self._streams is not None
        reader, writer = self._streams
        known = f"If-None-Match: {etag}\r\n" if etag else ""
        host = f"127.0.0.1:{self._port}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{known}{self._headers}\r\n".encode())
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines if line)
        headers = {name.lower(): value for name, value in pairs}
        status = int(first.split()[1])
        if status == 304:
            return status, headers, b""
        if "content-length" in headers:
            return status, headers, await reader.readexactly(int(headers["content-length"]))
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return status, headers, body


async def ask_bars(options: argparse.Namespace) -> dict[str, object]:
    """Ask for bars at a rate, however long the answers take; times are from when it was due."""
    symbols = options.symbols.split(",")
    headers = "Accept-Encoding: gzip\r\n" if options.gzip else ""
    free: list[Caller] = []
    times: list[float] = []
    states: dict[str, int] = {}
    sizes: list[int] = []

    async def one(symbol: str, due: float) -> None:
        caller = free.pop() if free else Caller(options.port, headers)
        path = f"/api/resampled/{symbol}?timeframe=1s&limit=1000"
        status, _, body = await caller.ask(path)
        times.append(time.perf_counter() - due)
        states[str(status)] = states.get(str(status), 0) + 1
        sizes.append(len(body))
        if status == 200 and not options.gzip and len(times) % 100 == 1:
            assert len(json.loads(body)["data"]) == 1000, body[:200]
        free.append(caller)

    began = time.perf_counter() + 0.5
    tasks = []
    for number in range(int(options.rate * options.seconds)):
        due = began + number / options.rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(symbols[number % len(symbols)], due)))
    await asyncio.gather(*tasks)
    return {"times": times, "states": states, "bytes": sum(sizes) / max(1, len(sizes))}


async def ask_unchanged(options: argparse.Namespace) -> dict[str, object]:
    """Ask again and again for what one has; only those answered 304 are timed."""
    caller = Caller(options.port)
    path = f"/api/resampled/{options.symbols.split(',')[0]}?timeframe=1s&limit=1000"
    etag, times, changed = "", [], 0
    end = time.perf_counter() + options.seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        status, headers, _ = await caller.ask(path, etag)
        if status == 304:
            times.append(time.perf_counter() - began)
        else:
            etag, changed = headers["etag"], changed + 1
        await asyncio.sleep(0.02)
    return {"times": times, "changed": changed}


async def ask_pages(options: argparse.Namespace) -> dict[str, object]:
    """Page through the last half hour of each symbol, a page after the other, again and again."""
    caller = Caller(options.port)
    last = int(time.time() - 60) * 1000
    starts = range(last - 1_600_000, last, PAGE_MS)
    pages = [(symbol, start) for symbol in options.symbols.split(",") for start in starts]
    times: list[float] = []
    states: dict[str, int] = {}
    end = time.perf_counter() + options.seconds
    while (began := time.perf_counter()) < end:
        symbol, start = pages[len(times) % len(pages)]
        path = f"/api/resampled/{symbol}?timeframe=1s&start={start}&end={start + PAGE_MS}"
        status, _, _ = await caller.ask(path)
        times.append(time.perf_counter() - began)
        states[str(status)] = states.get(str(status), 0) + 1
    return {"times": times, "states": states, "pages": len(pages)}


async def listen(options: argparse.Namespace) -> dict[str, object]:
    """Listen to heartbeats over many connections; ages are from the time that each names."""
    from websockets.asyncio.client import connect

    beats, ages, longest = 0, [], 0.0

    async def one(number: int) -> None:
        nonlocal beats, longest
        await asyncio.sleep(number * 0.02)
        url = f"ws://127.0.0.1:{options.port}/ws/live"
        async with connect(url, compression=None, proxy=None) as socket:
            before = None
            try:
                async with asyncio.timeout_at(end):
                    while True:
                        text = await socket.recv()
                        now = time.time()
                        if number % 20 == 0:
                            ages.append(now - json.loads(text)["ts"])
                        longest = max(longest, now - (before or now))
                        before = now
                        beats += 1
            except TimeoutError:
                return

    end = asyncio.get_running_loop().time() + options.clients * 0.02 + options.seconds
    await asyncio.gather(*(one(number) for number in range(options.clients)))
    return {"beats": beats, "ages": ages, "longest": longest}


def main() -> None:
    """Ask as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("bars", "unchanged", "pages", "listeners"))
    parser.add_argument("port", type=int)
    parser.add_argument("--symbols", default="")
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--gzip", action="store_true")
    options = parser.parse_args()
    run = {
        "bars": ask_bars, "unchanged": ask_unchanged, "pages": ask_pages, "listeners": listen,
    }[options.what]  # fmt: skip
    print(json.dumps(asyncio.run(run(options))), flush=True)


if __name__ == "__main__":
    main()
