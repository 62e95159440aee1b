"""What came of all rules, over every event and delivery in the file, however many there are."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from core.alerts.kept import EVENTS, load_rules
from core.alerts.targets import target_key
from core.config import Settings
from core.errors import DataError
from core.store import Connection, Store
from core.trade_writer import bump_versions, utc_now


def load_last_fired(con: Connection) -> dict[str, datetime]:
    """Return the newest bar that each rule fired on: a pause or a change makes none unhappen."""
    rows = con.execute(
        "select rule_id, max(bar_ts) from alert_events "
        "where rule_id in (select id from alert_rules) group by rule_id"
    ).fetchall()
    return dict(rows)


def acknowledge_until(store: Store, moment: datetime) -> None:
    """Mark all events noticed up to a moment (UTC, to the millisecond) as seen."""
    with store.write() as con:
        con.execute(
            "update alert_events set acknowledged_at = $now "
            "where noticed_at < $end and acknowledged_at is null",
            {"now": utc_now(), "end": moment + timedelta(milliseconds=1)},
        )
        bump_versions(con, [EVENTS])


def load_dead(con: Connection, *, limit: int = 500) -> pl.DataFrame:
    """Return the dead deliveries, newest first: event_id, target, name, label."""
    frame: pl.DataFrame = con.sql(
        "select d.event_id, d.target, e.name, d.label from alert_deliveries as d "
        "inner join alert_events as e on e.id = d.event_id where d.state = 'dead' "
        "order by d.created_at desc, d.event_id desc, d.label limit $limit",
        params={"limit": limit},
    ).pl()
    return frame


def redeliver_all(store: Store, settings: Settings) -> None:
    """Have all dead deliveries tried again, to the targets as rules and settings know them now.

    Raises DataError where some go to targets that nobody has any more; the others are tried.
    """
    with store.write() as con:
        urls = {url for rule in load_rules(con) for url in rule.targets} | {*settings.alert_urls}
        for url in urls:
            con.execute(
                "update alert_deliveries set state = 'waiting', tries = 0, url = $url, "
                "next_at = $now, note = '' where target = $target and state = 'dead'",
                {"url": url, "now": utc_now(), "target": target_key(url)},
            )
        left = con.execute("select count(*) from alert_deliveries where state = 'dead'").fetchone()
        bump_versions(con, [EVENTS])
    if left and left[0]:
        raise DataError(
            f"no rule and no setting sends to the targets of {left[0]:,} of them any more; "
            "add these again"
        )
