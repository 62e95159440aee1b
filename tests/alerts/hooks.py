"""A webhook of one's own: it notes what it gets, and answers as a script has it."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What a script can have it do besides giving a status.
HANG, DROP, DRIP = "hang", "drop", "drip"
Step = int | str | tuple[int, dict[str, str]]


class Hook:
    """A server on loopback; ``script`` are its answers in order, then it takes everything."""

    def __init__(self, script: list[Step] | None = None, port: int = 0) -> None:
        self.script: list[Step] = list(script or [])
        self.calls: list[dict[str, Any]] = []
        self.times: list[float] = []
        self._over = threading.Event()
        self._guard = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def url(self, path: str = "hook", scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}/{path}"

    @property
    def keys(self) -> list[str]:
        """The events that were taken, in order, repetitions included."""
        with self._guard:
            taken = [call for call in self.calls if call["status"] == 200]
            return [event["key"] for call in taken for event in call["body"].get("events", ())]

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Be gone: the next connection is refused."""
        self._over.set()
        self.server.shutdown()
        self.server.server_close()

    def _handler(hook) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with hook._guard:
                    step: Step = hook.script.pop(0) if hook.script else 200
                    status, headers = step if isinstance(step, tuple) else (step, {})
                    body = json.loads(raw) if raw.startswith(b"{") else {"raw": raw.decode()}
                    hook.calls.append({"path": self.path, "headers": dict(self.headers),
                                       "body": body, "status": status})  # fmt: skip
                    hook.times.append(time.monotonic())
                if status == HANG:
                    hook._over.wait(60)
                elif status == DROP:
                    self.connection.shutdown(socket.SHUT_RDWR)
                elif status == DRIP:
                    self._drip()
                else:
                    self._answer(int(status), headers)

            do_GET = do_POST

            def _answer(self, status: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _drip(self) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not hook._over.wait(0.2):
                    try:
                        self.wfile.write(b"a")
                    except OSError:
                        return

            def log_message(self, *_: object) -> None:
                pass

        return Handler
