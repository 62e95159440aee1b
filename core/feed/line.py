"""One place in the pool: a connection that is kept up, and replaced before it grows too old."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from websockets.exceptions import InvalidStatus, WebSocketException

from core.feed.session import Session, SessionSettings
from core.feed.weights import retry_at_ms

_log = logging.getLogger(__name__)

# A connection that delivered for this long was a good one: the next back-off starts afresh.
_STEADY_S = 10.0
# Frames under way when a replacement delivers: the old connection is read for this much longer.
_OVERLAP_S = 2.0
_READY_S = 30.0
_RESTRICTED_S = 300.0


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection as it is now; ages in seconds, None where nothing has happened yet.

    States: connecting, live, stalled (silent while others deliver), silent (and no other
    delivers either), recycling (live, with a second connection beside), backing_off, refused,
    restricted.
    """

    name: str
    state: str
    streams: int
    connected_age_s: float | None
    frames: int
    last_frame_age_s: float | None
    reconnects: int
    last_error: str
    restricted: bool

    @property
    def is_carrying(self) -> bool:
        """Whether data comes: live, or recycling, which lasts while one of the two delivers."""
        return self.state in ("live", "recycling")


@dataclass(eq=False)
class Line:
    """Keeps one connection with ``streams`` up until cancelled; never raises for what happens.

    ``deliver`` takes the frames of a session when it ends or when a batch is full.
    """

    name: str
    settings: SessionSettings
    deliver: Callable[[Session], None]
    recycle_s: float
    phase: str = "connecting"
    restricted: bool = False
    reconnects: int = 0
    last_error: str = ""
    streams: frozenset[str] = frozenset()
    sessions: list[Session] = field(default_factory=list)
    _past_frames: int = 0
    _stalled: bool = False
    # The exchange may name a time before which it does not want to be asked.
    _hold_s: float = 0.0

    def want(self, streams: Collection[str]) -> None:
        """Replace the streams, on the old and the new connection alike."""
        self.streams = frozenset(streams)
        for session in self.sessions:
            session.want(self.streams)

    async def run(self) -> None:
        """Connect, serve, back off, and again, until cancelled; then close politely."""
        delays = self.settings.delays()
        try:
            while True:
                session = self._new_session()
                try:
                    if await self._open(session):
                        session = await self._serve(session)
                        self.reconnects += 1
                except Exception as error:
                    # Whatever a library raises, the feed has to come back.
                    _log.exception("%s failed unexpectedly; it is opened again", self.name)
                    self.last_error = f"{type(error).__name__}: {error}"
                self._drop_all()
                if self._was_steady(session):
                    delays = self.settings.delays()
                await asyncio.sleep(max(self._hold_s, next(delays)))
        finally:
            await self._close_all()

    def status(self) -> ConnectionStatus:
        """Return how the connection is now; the pool knows whether all are silent."""
        now = self.settings.clock()
        current = self.sessions[0] if self.sessions else None
        heard = [s.last_frame_at for s in self.sessions if s.last_frame_at is not None]
        return ConnectionStatus(
            name=self.name,
            state=self._state(),
            streams=len(self.streams),
            connected_age_s=None if current is None else now - current.connected_at,
            frames=self._past_frames + sum(session.frames for session in self.sessions),
            last_frame_age_s=now - max(heard) if heard else None,
            reconnects=self.reconnects,
            last_error=self.last_error,
            restricted=self.restricted,
        )

    def _state(self) -> str:
        if self.phase == "serving" and any(session.is_delivering for session in self.sessions):
            return "live" if len(self.sessions) == 1 else "recycling"
        if self._stalled and self.phase in ("serving", "connecting", "backing_off"):
            return "stalled"
        return "connecting" if self.phase == "serving" else self.phase

    def _new_session(self) -> Session:
        session = Session(self.settings, self.deliver, self._note)
        session.want(self.streams)
        return session

    def _note(self, error: str) -> None:
        if error != self.last_error:
            _log.warning("%s: %s", self.name, error)
        self.last_error = error

    async def _open(self, session: Session) -> bool:
        """Open a session and add it; return whether that went well."""
        self._hold_s = 0.0
        phase = "backing_off"
        if not self.sessions:
            self.phase = "restricted" if self.restricted else "connecting"
        try:
            await session.open()
        except InvalidStatus as error:
            phase = self._refused(error)
        except (OSError, WebSocketException) as error:
            self._note(f"cannot connect to {self.settings.url}: {error or type(error).__name__}")
        else:
            self.restricted, self.phase = False, "serving"
            self.sessions.append(session)
            return True
        if not self.sessions:
            self.phase, self._stalled = phase, False
        return False

    def _refused(self, error: InvalidStatus) -> str:
        """Take in a refused handshake and return the phase that it means."""
        status, headers = error.response.status_code, error.response.headers
        text = (error.response.body or b"")[:120].decode(errors="replace").strip()
        if status in (403, 451):
            self.restricted = True
            self._hold_s = random.uniform(_RESTRICTED_S / 2, _RESTRICTED_S)
            self._note(
                f"the exchange does not serve this location or address (HTTP {status}); run "
                "Perpduck from a place where Binance futures are available, or with --practice"
            )
            return "restricted"
        if status in (418, 429):
            now_s = time.time()
            self._hold_s = retry_at_ms(headers, text, now_s) / 1000 - now_s
        self._note(f"the exchange refused the connection: HTTP {status} {text}")
        return "refused"

    async def _serve(self, session: Session) -> Session:
        """Serve until the connection ends, replacing it as it ages; return the last one."""
        delays = self.settings.delays()
        task = asyncio.create_task(session.run())
        wait_s = self._life_s()
        try:
            while True:
                await asyncio.wait({task}, timeout=wait_s)
                if task.done():
                    self._ended(task.result())
                    return session
                replacement = await self._replacement()
                if replacement is None:
                    wait_s = max(self._hold_s, next(delays))
                    continue
                old, old_task = session, task
                session, task = replacement
                delays, wait_s = self.settings.delays(), self._life_s()
                await self._hand_over(old, old_task)
        finally:
            await _cancelled(task)

    async def _replacement(self) -> tuple[Session, asyncio.Task[str]] | None:
        """Open a second connection; None when it has not delivered within a bounded time."""
        fresh = self._new_session()
        if not await self._open(fresh):
            return None
        task = asyncio.create_task(fresh.run())
        try:
            give_up = self.settings.clock() + _READY_S
            while self.settings.clock() < give_up and not task.done():
                if fresh.is_carrying:
                    return fresh, task
                await asyncio.sleep(0.05)
        except BaseException:
            await _cancelled(task)
            raise
        self._note("the connection that was to replace an old one delivered nothing")
        await _cancelled(task)
        self._drop(fresh)
        return None

    async def _hand_over(self, old: Session, task: asyncio.Task[str]) -> None:
        """Read the old connection for a little longer, then close it."""
        try:
            await asyncio.wait({task}, timeout=_OVERLAP_S)
            await old.close()
        finally:
            await _cancelled(task)
        _log.info("%s: replaced a connection of %.0f s", self.name, self._age_s(old))
        self._drop(old)

    def _ended(self, reason: str) -> None:
        self.phase, self._stalled = "backing_off", not reason
        self._note(
            reason or f"no data for {self.settings.silence_s:g} s although subscribed; reconnecting"
        )

    def _life_s(self) -> float:
        # Connections opened together are not replaced together.
        return random.uniform(0.9, 1.0) * self.recycle_s

    def _age_s(self, session: Session) -> float:
        return self.settings.clock() - session.connected_at

    def _was_steady(self, session: Session) -> bool:
        return session.watch.has_heard and self._age_s(session) >= _STEADY_S

    def _drop(self, session: Session) -> None:
        """Take what a finished session still holds, and forget it."""
        self.deliver(session)
        session.abort()
        self._past_frames += session.frames
        self.sessions.remove(session)

    def _drop_all(self) -> None:
        for session in list(self.sessions):
            self._drop(session)

    async def _close_all(self) -> None:
        await asyncio.gather(
            *(session.close() for session in self.sessions), return_exceptions=True
        )
        self._drop_all()


async def _cancelled(task: asyncio.Task[str]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
