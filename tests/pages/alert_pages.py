"""What the tests of the Alerts page share: stores with rules and events, and how to look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl
from streamlit.testing.v1 import AppTest

from core.alerts.events import Event, write_events
from core.alerts.kept import (
    KeptRule,
    Standing,
    add_rule,
    load_rules,
    write_standings,
)
from core.alerts.machine import Firing
from core.alerts.rules import Rule
from core.store import Store
from core.trade_writer import utc_now

ALERTS = "pages/operate/alerts.py"
PAIR = ("arbusdt", "opusdt")
HOOK = "https://hooks.example.com/services/T0PSECRET/k3yk3yk3y"
INPUTS = {
    "alpha": -0.0123456789, "beta": 0.875, "spread": 0.0042, "zscore": 2.31, "price_y": 1.0123,
    "price_x": 2.0456, "method": "refit", "price_scale": "raw", "window_bars": 120,
}  # fmt: skip


def zscore(**more: object) -> Rule:
    """Return the rule of most tests: a z-score on minutes."""
    return Rule("zscore", *PAIR, **({"op": "crosses_above", "threshold": 2.0} | more))  # type: ignore[arg-type]


def kept_rules(store: Store) -> list[KeptRule]:
    """Return the rules in the file."""
    with store.read() as con:
        return load_rules(con)


def stand(store: Store, rule_id: str, **standing: object) -> None:
    """Write where a rule stands, as the worker does."""
    with store.write() as con:
        write_standings(con, {rule_id: Standing(**standing)})  # type: ignore[arg-type]


def fire(
    store: Store, kept: KeptRule, value: float = 2.31, *, ago_s: float = 0.0,
    urls: Sequence[str] = (), at: datetime | None = None,
) -> str:  # fmt: skip
    """Write an event of a rule, as the worker does; returns its id."""
    now = utc_now() - timedelta(seconds=ago_s)
    bar = (at or now).replace(second=0, microsecond=0) - timedelta(minutes=1)
    event = Event(kept, Firing(bar, value, True), INPUTS)
    with store.write() as con:
        assert write_events(con, [event], urls, now) == 1
    return event.id


def ruled(store: Store, rule: Rule, name: str = "Stretched", **more: object) -> KeptRule:
    """Keep a rule and return it."""
    rule_id = add_rule(store, name, rule, **more)  # type: ignore[arg-type]
    return next(kept for kept in kept_rules(store) if kept.id == rule_id)


def table(page: AppTest, column: str) -> pl.DataFrame:
    """Return the table on the page that has a column."""
    found = [frame.value for frame in page.dataframe if column in frame.value.columns]
    return pl.from_pandas(found[0])


def everything(page: AppTest) -> str:
    """Return all that is sent to the browser, as text."""
    return "\n".join(str(element.proto) for element in page.main if hasattr(element, "proto"))
