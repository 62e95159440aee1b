"""Limits: how often, how much, how many at once; who is too slow is dropped, not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import generate_latest

from core.api import Access, limits
from core.api.limits import JSON_BYTES, Limits, Rates, address_of
from core.api.metrics import REGISTRY
from tests.api.safe_servers import BEARER, TOKEN, ask, asked, connect, gate, post

API, STOP, LIVE, PAGE = "/api/health", "/api/ingest/stop", "/ws/live", "/prices"
UPLOAD = "/api/upload_ndjson"
JSON = {"content-type": "application/json", "transfer-encoding": "chunked"}


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(limits, "time", made)
    return made


def test_an_address_has_a_burst_and_then_its_rate(clock: Clock) -> None:
    guard = gate(rate=5)
    assert [ask(guard, API).status for _ in range(11)] == [200] * 10 + [429]
    assert ask(guard, API).headers["retry-after"] == "1"
    clock.now += 0.5  # two more, at five a second
    assert [ask(guard, API).status for _ in range(3)] == [200, 200, 429]
    assert ask(guard, API, client=("127.0.0.2", 1)).status == 200
    clock.now += 3600
    assert [ask(guard, API).status for _ in range(11)] == [200] * 10 + [429]


def test_a_rate_below_one_a_second_is_one_too(clock: Clock) -> None:
    guard = gate(rate=0.1)
    assert [ask(guard, API).status for _ in range(2)] == [200, 429]
    assert ask(guard, API).headers["retry-after"] == "10"
    clock.now += 10
    assert ask(guard, API).status == 200


def test_connections_to_the_live_feed_count_and_pages_do_not(clock: Clock) -> None:
    guard = gate(rate=1)
    assert [connect(guard, LIVE).status for _ in range(3)] == [101, 101, 429]
    assert {ask(guard, PAGE).status for _ in range(20)} == {200}
    assert {connect(guard, "/_stcore/stream").status for _ in range(20)} == {101}


def test_who_asks_too_often_is_answered_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood on kept connections waits for its refusals, and costs as little as it is patient."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    guard = gate(rate=0.5, pause_s=0.25)
    monkeypatch.setattr("core.api.guard.asyncio.sleep", sleep)
    assert [ask(guard, API).status for _ in range(3)] == [200, 429, 429]
    assert connect(guard, LIVE).status == 429
    assert slept == [0.25] * 3


def test_a_wrong_token_costs_as_much_as_ten_requests(clock: Clock) -> None:
    guard = gate(Access(TOKEN), rate=20)
    for path in (API, PAGE):  # a page takes a token too, so it is no way around
        clock.now += 3600
        wrong = [ask(guard, path, {"authorization": f"Bearer {n}"}).status for n in range(5)]
        assert wrong == [401] * 4 + [429]
        assert ask(guard, path, BEARER).status == 429
        clock.now += 1
        assert ask(guard, path, BEARER).status == 200


def test_asking_for_pages_without_any_token_is_counted_too(clock: Clock) -> None:
    guard = gate(Access(TOKEN), rate=2)
    assert [ask(guard, PAGE).status for _ in range(5)] == [401] * 4 + [429]
    kept = {"cookie": f"perpduck_session={Access(TOKEN).session()}"}
    assert {ask(guard, PAGE, kept).status for _ in range(20)} == {200}


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.9", 1), "192.0.2.9"),
        (("::ffff:192.0.2.9", 1), "192.0.2.9"),
        # A network of one host's own: it has 2^64 addresses to ask from.
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::"),
        (("2001:db8:1:2:ffff::1", 1), "2001:db8:1:2::"),
        (("2001:db8:1:3::1", 1), "2001:db8:1:3::"),
        (("x" * 60_000, 0), "x" * 64),  # as a forwarded header may say
        (None, ""),
    ],
)
def test_whom_a_request_is_counted_to(client: Any, address: str) -> None:
    assert address_of({"client": client}) == address


def test_rates_remember_some_thousand_addresses_at_most() -> None:
    rates = Rates(1, 2)
    for number in range(10_000):
        rates.wait_s(str(number))
    assert len(rates._buckets) == limits._ADDRESSES


def test_a_method_that_nobody_knows_is_no_label_of_its_own() -> None:
    guard = gate(Access(TOKEN))
    for number in range(5):
        assert ask(guard, API, method=f"SPAM{number}").status == 401
    assert b"SPAM" not in generate_latest(REGISTRY)


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    for path, most in ((STOP, JSON_BYTES), (UPLOAD, 1 << 20)):
        told = post(
            gate(), path, {"content-length": str(most + 1)} | JSON | {"transfer-encoding": None}
        )
        assert told.problem["status"] == 413
        assert f"{most:,}" in told.problem["detail"]
        assert told.headers["connection"] == "close"
        assert (
            post(
                gate(), path, {"content-length": "9" * 400, "content-type": "application/json"}
            ).status
            == 413
        )


def test_nor_is_more_than_that_of_one_that_does_not_say() -> None:
    read = 0

    async def one_piece() -> None:
        nonlocal read
        read += 1

    pieces = [piece for _ in range(100) for piece in (one_piece, b"x" * (64 << 10))]
    told = post(gate(), STOP, JSON, body=pieces)
    assert told.problem["status"] == 413
    assert told.headers["connection"] == "close"
    assert read == JSON_BYTES // (64 << 10) + 1
    assert post(gate(), STOP, JSON, body=[b"x" * JSON_BYTES]).body == b"%d" % JSON_BYTES


def test_uploads_have_a_limit_of_their_own() -> None:
    form = {"content-type": "multipart/form-data; boundary=x", "transfer-encoding": "chunked"}
    guard = gate(upload_bytes=4 << 20)
    assert post(guard, UPLOAD, form, body=[b"x" * (1 << 20)] * 4).status == 200
    assert post(guard, UPLOAD, form, body=[b"x" * (1 << 20)] * 5).status == 413


@pytest.mark.parametrize("sized", [{"content-length": "100000"}, {"transfer-encoding": "chunked"}])
def test_a_refused_body_ends_the_connection_instead_of_being_read_for_ever(
    sized: dict[str, str],
) -> None:
    for who in (Access(TOKEN), Access()):
        told = post(gate(who), UPLOAD, sized | {"origin": "http://evil.example"})
        assert told.status in (401, 403)
        assert told.headers["connection"] == "close"
    small = post(gate(Access(TOKEN)), STOP, {"content-length": "30"})
    assert "connection" not in small.headers


def busy(count: int, of: Callable[[int], dict[str, Any]], **changed: Any) -> list[int]:
    """Ask so often at once that all are answered together; returns the statuses."""
    together = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await together.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> list[int]:
        guard = gate(app=app, **changed)
        tasks = [asyncio.create_task(asked(guard, API, **of(n))) for n in range(count)]
        await asyncio.sleep(0)
        together.set()
        statuses = [told.status for told in await asyncio.gather(*tasks)]
        again = await asked(guard, API)
        assert again.status == 200, "a place was not given back"
        return statuses

    return asyncio.run(run())


def test_so_many_are_answered_at_once_and_so_many_of_one_address() -> None:
    assert busy(6, lambda _: {}, of_one=4) == [200] * 4 + [503] * 2
    hosts = busy(6, lambda n: {"client": (f"127.0.0.{n}", 1)}, of_one=4)
    assert hosts == [200] * 6
    everybody = busy(6, lambda n: {"client": (f"127.0.0.{n}", 1)}, at_once=5)
    assert everybody == [200] * 5 + [503]


async def never() -> None:
    await asyncio.Event().wait()


async def soon() -> None:
    await asyncio.sleep(0.02)


@pytest.mark.parametrize("path", [STOP, PAGE, "/perpduck/upload", "/_stcore/upload_file/a/b"])
def test_half_a_body_is_not_waited_for(path: str) -> None:
    told = post(gate(stall_s=0.05), path, JSON, body=[b"{", never])
    assert told.problem["status"] == 408
    assert told.headers["connection"] == "close"


def test_nor_is_half_a_form_of_the_sign_in() -> None:
    told = post(gate(Access(TOKEN), stall_s=0.05), "/perpduck/sign-in", body=[b"token=", never])
    assert told.status == 408


def test_a_body_that_trickles_is_given_up_however_steadily_it_does() -> None:
    trickle: list[bytes | Callable[[], Awaitable[object]]] = [b"x", soon] * 10_000
    told = post(gate(stall_s=0.1), STOP, JSON, body=trickle)
    assert told.status == 408
    # As many bytes a second as one may expect are waited for, however many waits they take.
    steady: list[bytes | Callable[[], Awaitable[object]]] = [b"x" * 4096, soon] * 40
    assert post(gate(stall_s=0.5), STOP, JSON, body=[*steady, b""]).status == 200


@pytest.mark.parametrize("path", [API, PAGE])
def test_an_answer_that_nobody_takes_is_given_up(path: str) -> None:
    ended = asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 100, "more_body": True})
        finally:
            ended.set()

    told = ask(gate(app=stream, stall_s=0.05), path, taken=never)
    assert (told.status, ended.is_set()) == (200, True)
    trickle = ask(gate(app=stream, stall_s=0.1), path, taken=soon)
    assert len(trickle.body) < 10_000


def test_a_refusal_is_not_waited_for_either() -> None:
    told = ask(gate(Access(TOKEN), stall_s=0.05), API, taken=never)
    assert told.status == 401


def test_a_place_is_given_back_by_who_is_dropped() -> None:
    guard = gate(stall_s=0.02, of_one=1)
    assert [post(guard, STOP, JSON, body=[b"{", never]).status for _ in range(3)] == [408] * 3
    assert ask(guard, API).status == 200


def test_every_limit_has_a_value_out_of_the_box() -> None:
    made = Limits(rate=100, upload_bytes=2 << 30)
    assert (made.rates.rate, made.rates.burst) == (100, 200)
    assert made.body_bytes(STOP) == 1 << 20
    assert made.body_bytes(UPLOAD) == 2 << 30
    assert 0 < made.of_one < made.at_once
    assert made.stall_s == 20
