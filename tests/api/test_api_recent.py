"""Bars out of memory: read together, known while the start moves on and while the file is busy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from anyio import from_thread, to_thread

from core import queries
from core.api import bars, subjects
from core.api.answers import file_answer
from core.errors import StoreBusy, WrongFile
from core.live.asking import Answer
from core.live.feeder import Feeder
from core.live.questions import Bars
from core.store import Store
from tests.api.conftest import Api, assert_problem
from tests.api.safe_servers import ask

START = datetime(2026, 11, 18, 10, 0)
SYMBOLS = ("arbusdt", "opusdt", "btcusdt")


def stretch(*symbols: str, timeframe: str = "1s") -> Bars:
    return Bars(symbols, timeframe, datetime(2020, 1, 1), None)


def test_bars_of_one_stretch_are_read_by_one_query(
    pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten symbols by a query each took the file five times as long as by one."""
    asked: list[tuple[list[str], str]] = []
    load = queries.load_bars

    def counted(con: Any, symbols: list[str], timeframe: str, *span: datetime) -> Any:
        asked.append((list(symbols), timeframe))
        return load(con, symbols, timeframe, *span)

    alone = {symbol: Feeder(pairs).ask(stretch(symbol)).value[symbol] for symbol in SYMBOLS}
    minutes = Feeder(pairs).ask(stretch("arbusdt", timeframe="1min")).value["arbusdt"]
    monkeypatch.setattr(queries, "load_bars", counted)
    feed = Feeder(pairs)
    several = [stretch(*SYMBOLS), *map(stretch, SYMBOLS), stretch("arbusdt", timeframe="1min")]
    feed.ask(several[0], *several[1:])
    assert sorted(asked) == [(["arbusdt"], "1min"), (list(SYMBOLS), "1s")]
    for question in several[:4]:
        found = feed.known(question)
        assert found is not None
        assert list(found.value) == list(question.symbols)
        assert all(found.value[symbol].equals(alone[symbol]) for symbol in question.symbols)
        assert alone[question.symbols[0]].height > 3000
    assert feed.known(several[4]).value["arbusdt"].equals(minutes)  # type: ignore[union-attr]


class Memory:
    """A feeder that knows some answers, and notes what it is asked besides."""

    def __init__(self, *known: Bars) -> None:
        self._known = known
        self.asked: list[Bars] = []

    def known(self, question: Bars) -> Answer | None:
        return Answer({}, (), 0.0) if question in self._known else None

    def ask(self, question: Bars, *besides: Bars) -> None:
        self.asked += [question, *besides]


def test_where_the_start_moves_on_the_answer_before_is_used_meanwhile() -> None:
    found = bars._Stretch("arbusdt", "1s", datetime(2020, 1, 1), None, 1000)
    new = Bars(("arbusdt",), "1s", START, None)
    before = replace(new, start=START - timedelta(seconds=256))
    for known, question, asked in (
        ((before,), before, [before, new]),
        ((before, new), new, []),
        ((), new, []),
    ):
        memory = Memory(*known)
        subject: Any = SimpleNamespace(feed=memory)
        assert bars._question(subject, found, START, 1000) == question
        assert memory.asked == asked


def test_a_stretch_moves_by_quarters_whatever_its_length() -> None:
    found = bars._Stretch("arbusdt", "1s", datetime(2020, 1, 1), None, 1000)
    starts = {bars._snapped(found, START + timedelta(seconds=s), 1000) for s in range(512)}
    assert len(starts) in (2, 3)
    assert all(
        START - timedelta(seconds=1001 + 256) <= start <= START - timedelta(seconds=1001 - 512)
        for start in starts
    )


@pytest.mark.parametrize(("age_s", "is_answered"), [(0.5, True), (subjects.FRESH_S + 1, False)])
def test_a_busy_file_is_answered_from_memory_for_a_moment(
    pairs: Store, monkeypatch: pytest.MonkeyPatch, age_s: float, is_answered: bool
) -> None:
    pulse = subjects.feeder(pairs).pulse()
    assert pulse.error is None
    busy = replace(pulse, error=StoreBusy("it is held"), read_at=subjects.time.monotonic() - age_s)
    monkeypatch.setattr(Feeder, "pulse", lambda _: busy)
    if is_answered:
        assert subjects.subject_of("practice").key("ARBUSDT") == "arbusdt"
    else:
        with pytest.raises(StoreBusy):
            subjects.subject_of("practice")


def test_any_other_trouble_is_told_at_once(pairs: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pulse = replace(subjects.feeder(pairs).pulse(), error=WrongFile("not ours"))
    monkeypatch.setattr(Feeder, "pulse", lambda _: pulse)
    with pytest.raises(WrongFile):
        subjects.subject_of("practice")


def test_exports_take_none_of_the_threads_that_serve_the_pages(pairs: Store) -> None:
    taken: list[int] = []

    async def borrowed() -> int:
        return to_thread.current_default_thread_limiter().borrowed_tokens

    def parts() -> Any:
        for number in range(3):
            if number:
                taken.append(from_thread.run(borrowed))
            with pairs.read() as con:
                yield queries.load_bars(con, SYMBOLS[:1], "1min", datetime(2020, 1, 1), START)

    async def app(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        await file_answer(parts(), "csv", "x")(dict(scope), receive, send)

    assert ask(app, "/", asgi={"spec_version": "2.4"}).status == 200
    assert taken == [0, 0]


def test_a_question_that_is_stopped_stops_no_other(
    api: Api, pairs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = queries.load_bars

    def slow(con: Any, symbols: list[str], timeframe: str, *span: datetime) -> Any:
        if "arbusdt" in symbols:
            con.execute("select sum(hash(range)) from range(100_000_000_000)").fetchall()
        return load(con, symbols, timeframe, *span)

    monkeypatch.setattr(queries, "load_bars", slow)
    # What was read a moment ago does not help.
    monkeypatch.setattr(subjects, "FRESH_S", 0.0)
    for _ in range(2):
        problem = api.get("/resampled/arbusdt")
        assert_problem(problem, 422)
        assert "choose a shorter range" in problem.json()["detail"]
        assert "retry-after" not in problem.headers
        assert api.get("/symbols").status_code == 200
        assert len(api.found("/resampled/opusdt", limit=30)["data"]) == 30
    monkeypatch.setattr("core.live.asking.FAILED_S", 0.0)
    monkeypatch.setattr(queries, "load_bars", load)
    assert len(api.found("/resampled/arbusdt")["data"]) == 1000
