"""The rules behind the live feed, without sockets: plan, control messages, watchdog, back-off."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from core.feed.backoff import backoff_delays
from core.feed.messages import Reply
from core.feed.plan import planned_symbols
from core.feed.subscriptions import ControlRate, Subscriptions
from core.feed.watchdog import SilenceWatch

NAMES = st.sets(st.integers(0, 60).map(lambda number: f"s{number}usdt"))


@given(st.lists(NAMES, max_size=6), NAMES, st.integers(1, 20))
def test_plan_places_each_wanted_symbol_once_with_room(
    current: list[set[str]], wanted: set[str], room: int
) -> None:
    planned = planned_symbols(current, wanted, room)
    placed = list(itertools.chain.from_iterable(planned))
    assert sorted(placed) == sorted(wanted)
    assert all(len(symbols) <= room for symbols in planned)
    assert len(planned) >= len(current)


@given(NAMES, NAMES, st.integers(1, 20))
def test_plan_moves_nothing_that_stays(first: set[str], second: set[str], room: int) -> None:
    before = planned_symbols([], first, room)
    after = planned_symbols(before, second, room)
    where = {symbol: place for place, symbols in enumerate(after) for symbol in symbols}
    for place, symbols in enumerate(before):
        assert all(where[symbol] == place for symbol in symbols if symbol in second)


def test_plan_balances_and_opens_no_more_than_needed() -> None:
    symbols = [f"s{number}usdt" for number in range(570)]
    planned = planned_symbols([], symbols, 100)
    assert [len(group) for group in planned] == [95] * 6
    assert planned_symbols([["a"], [], ["b"]], ["a", "b", "c"], 2) == [["a", "c"], [], ["b"]]
    assert planned_symbols([["a", "b"]], [], 2) == [[]]


def no_delays() -> Iterator[float]:
    return itertools.repeat(1.0)


def sent(text: str | None) -> tuple[str, list[str], int]:
    assert text is not None
    message = json.loads(text)
    return message["method"], message["params"], message["id"]


def test_subscriptions_follow_what_is_wanted() -> None:
    rules = Subscriptions(delays=no_delays)
    assert rules.next_message(0.0) is None
    assert rules.next_due(0.0) is None
    rules.want(["b@aggTrade", "a@aggTrade"])
    assert sent(rules.next_message(0.0)) == ("SUBSCRIBE", ["a@aggTrade", "b@aggTrade"], 1)
    assert rules.next_message(0.0) is None
    assert not rules.is_complete
    assert rules.on_reply(Reply(1), 0.1) is None
    assert rules.is_complete
    rules.want(["b@aggTrade", "c@aggTrade"])
    assert sent(rules.next_message(1.0)) == ("SUBSCRIBE", ["c@aggTrade"], 2)
    assert sent(rules.next_message(1.0)) == ("UNSUBSCRIBE", ["a@aggTrade"], 3)
    rules.on_reply(Reply(3), 1.1)
    rules.on_reply(Reply(2), 1.1)
    assert rules.confirmed == {"b@aggTrade", "c@aggTrade"}
    assert rules.next_due(2.0) is None


def test_subscriptions_are_asked_for_in_chunks() -> None:
    rules = Subscriptions(delays=no_delays)
    rules.want([f"s{number}@aggTrade" for number in range(120)])
    sizes = [len(sent(rules.next_message(0.0))[1]) for _ in range(3)]
    assert sizes == [50, 50, 20]
    assert rules.next_message(0.0) is None


def test_one_bad_name_does_not_keep_its_neighbours_out() -> None:
    rules = Subscriptions(delays=no_delays)
    rules.want([f"s{number}" for number in range(8)])
    now, errors = 0.0, 0
    for _ in range(40):
        while (message := rules.next_message(now)) is not None:
            _, params, number = sent(message)
            bad = "s5" in params
            said = rules.on_reply(Reply(number, None, 2, "Invalid") if bad else Reply(number), now)
            errors += said is not None
        now += 0.5
    assert rules.confirmed == {f"s{number}" for number in range(8)} - {"s5"}
    assert errors > 3
    assert rules.next_due(now) is not None


def test_a_refusal_without_a_number_is_about_the_oldest_request() -> None:
    rules = Subscriptions(delays=no_delays)
    rules.want(["a"])
    rules.next_message(0.0)
    said = rules.on_reply(Reply(None, None, 2, "Invalid request"), 0.0)
    assert said == "the exchange refused SUBSCRIBE a: 2 Invalid request"
    assert rules.next_message(0.5) is None
    assert rules.next_due(0.5) == 1.0
    assert sent(rules.next_message(1.0)) == ("SUBSCRIBE", ["a"], 2)
    assert rules.on_reply(Reply(None, None, 3, "Other"), 1.0) is not None
    assert "a control message" in (rules.on_reply(Reply(77, None, 3, "Other"), 1.0) or "")


def test_a_request_without_a_reply_is_repeated() -> None:
    rules = Subscriptions(reply_s=5.0, delays=no_delays)
    rules.want(["a"])
    rules.next_message(0.0)
    assert rules.next_due(0.0) == 5.0
    assert rules.expire(4.9) is None
    assert "no reply to 1" in (rules.expire(5.0) or "")
    assert sent(rules.next_message(6.0)) == ("SUBSCRIBE", ["a"], 2)


def test_a_refused_unsubscribe_is_repeated() -> None:
    rules = Subscriptions(delays=no_delays)
    rules.want(["a"])
    rules.next_message(0.0)
    rules.on_reply(Reply(1), 0.0)
    rules.want([])
    assert sent(rules.next_message(0.0))[0] == "UNSUBSCRIBE"
    rules.on_reply(Reply(2, None, 2, "no"), 0.0)
    assert rules.next_message(0.9) is None
    assert sent(rules.next_message(1.0)) == ("UNSUBSCRIBE", ["a"], 3)


@given(st.integers(1, 10), st.lists(st.floats(0, 0.4), max_size=60))
def test_control_rate_holds_in_every_second(per_s: int, steps: list[float]) -> None:
    rate, now, times = ControlRate(per_s), 0.0, []
    for step in steps:
        now += step
        now += rate.delay_s(now)
        rate.spend(now)
        times.append(now)
    # Sums of floats: a hair less than a second is a second.
    assert all(sum(start <= at < start + 1.0 - 1e-9 for at in times) <= per_s for start in times)


def test_silence_is_counted_and_ended_by_data() -> None:
    watch = SilenceWatch(3.0, 0.0)
    assert [watch.tick(now) for now in (0.5, 1.0, 2.0, 2.9)] == [False] * 4
    watch.heard(2.95)
    assert watch.has_heard
    assert [watch.tick(now) for now in (3.5, 4.4, 5.3, 5.94)] == [False] * 4
    assert watch.tick(5.96)


def test_a_blocked_loop_or_a_sleeping_laptop_is_no_silence() -> None:
    watch = SilenceWatch(3.0, 0.0)
    watch.tick(0.5)
    assert not watch.tick(3600.0)
    assert watch.silent_s == 1.5


def test_backoff_grows_to_its_limit_with_jitter() -> None:
    delays = backoff_delays(0.5, 2.0, 8.0, uniform=lambda low, high: high)
    assert list(itertools.islice(delays, 7)) == [0.5, 1, 2, 4, 8, 8, 8]
    for step, delay in zip([0.5, 1, 2, 4], backoff_delays(), strict=False):
        assert step / 2 <= delay <= step
