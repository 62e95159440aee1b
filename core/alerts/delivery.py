"""Sends what waits in the outbox: a message a target at a time, each in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from core.alerts.outbox import claim, next_due, sent_lately, settle
from core.alerts.parcels import Parcel
from core.alerts.sending import Answer, as_test, send
from core.alerts.targets import check_target, masked
from core.config import Settings
from core.errors import DataError, StoreError
from core.store import Store
from core.trade_writer import utc_now

logger = logging.getLogger(__name__)

# So often it looks for what others put into the outbox.
LOOK_S = 5.0
TARGETS_AT_ONCE = 8
BUSY_S = 1.0


class Deliverer:
    """Delivers what is due to the file's targets; several may work on one file."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._threads = ThreadPoolExecutor(TARGETS_AT_ONCE, "deliver")
        self._busy: set[str] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._lately: dict[str, list[datetime]] | None = None
        self._next: datetime | None = None
        self._woken = asyncio.Event()
        self._sent = 0
        self.trouble = ""

    def wake(self) -> None:
        """Look at once; to be called in the event loop that `run` runs in."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver for ever; when cancelled, what is being sent is left to its claim."""
        # apprise looks up its services once, which takes a quarter of a second.
        await asyncio.to_thread(masked, "json://localhost")
        while True:
            wait = await self._round()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), wait)
            self._woken.clear()

    async def drain(self, within_s: float) -> int:
        """Deliver all that is due now; returns how many messages were taken."""
        ends = time.monotonic() + within_s
        while (left := ends - time.monotonic()) > 0:
            wait = await self._round()
            if self._sending:
                await asyncio.wait(self._sending, timeout=left)
            elif self.trouble:
                await asyncio.sleep(min(wait, left))
            elif self._next is None or self._next > utc_now():
                break
        return self._sent

    def close(self) -> None:
        """Let go of the threads; what is being sent comes to its end."""
        self._threads.shutdown(wait=False)

    async def _round(self) -> float:
        """Begin to send what is due; returns for how long nothing more is."""
        try:
            parcels = await asyncio.to_thread(self._claim)
        except StoreError as error:
            if str(error) != self.trouble:
                logger.warning("alerts are not delivered meanwhile: %s", error)
            self.trouble = str(error)
            return BUSY_S
        self.trouble = ""
        for parcel in parcels:
            self._busy.add(parcel.target)
            task = asyncio.create_task(self._deliver(parcel))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        if self._next is None:
            return LOOK_S
        return min(LOOK_S, max(0.05, (self._next - utc_now()).total_seconds()))

    def _claim(self) -> list[Parcel]:
        now = utc_now()
        with self._store.read() as con:
            self._next = next_due(con)
            if self._lately is None:
                self._lately = sent_lately(con, now)
        if self._next is None or self._next > now:
            return []
        with self._store.write() as con:
            parcels = claim(con, self._settings, now, self._busy, self._lately)
            self._next = next_due(con)
        if self._next is not None and self._next <= now:
            # Of a busy target: it is looked at when that is done.
            self._next = now + timedelta(seconds=LOOK_S)
        return parcels

    async def _deliver(self, parcel: Parcel) -> None:
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(
                self._threads, send, parcel.url, parcel.message, self._settings
            )
            await self._settle(parcel, answer)
        finally:
            self._busy.discard(parcel.target)
            self._woken.set()

    async def _settle(self, parcel: Parcel, answer: Answer) -> None:
        now = utc_now()
        # A failed message counts too: what limits is how often a target is asked.
        assert self._lately is not None
        times = self._lately.setdefault(parcel.target, [])
        times[:] = [*(at for at in times if now - at < timedelta(minutes=1)), now]
        if answer.is_taken:
            self._sent += 1
        else:
            logger.warning("%s: %s", parcel.label, answer.note)
        # Until the claim lapses nobody else sends it: there is time to wait for the file.
        for _ in range(60):
            try:
                await asyncio.to_thread(self._write, parcel, answer, now)
                return
            except StoreError as error:
                self.trouble = str(error)
                await asyncio.sleep(BUSY_S)

    def _write(self, parcel: Parcel, answer: Answer, now: datetime) -> None:
        with self._store.write() as con:
            settle(con, parcel, answer, self._settings, now)


def deliver_due(store: Store, settings: Settings, within_s: float = 20.0) -> int:
    """Deliver what is due now, where no worker does; returns how many messages were taken.

    Raises StoreError where the file cannot be read.
    """
    with store.read() as con:
        due = next_due(con)
    if due is None or due > utc_now():
        return 0

    async def drain() -> int:
        deliverer = Deliverer(store, settings)
        try:
            return await deliverer.drain(within_s)
        finally:
            deliverer.close()

    return asyncio.run(drain())


def send_test(url: str, settings: Settings) -> str:
    """Send a test message; returns an empty text when it was taken, else why it was not."""
    try:
        check_target(url, settings)
    except DataError as error:
        return str(error)
    return send(url, as_test(), settings).note
