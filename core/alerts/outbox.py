"""Deliveries in the file: what waits, what is being sent, what came of it.

A delivery is claimed by moving its next time ahead: nobody else takes it meanwhile, and if the
claimant dies it is taken again. So each is sent at least once, under the same key.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from core.alerts.kept import EVENTS, load_rules
from core.alerts.parcels import NOT_JSON, Parcel, make_parcel
from core.alerts.sending import LONGEST_RETRY_AFTER_S, Answer
from core.alerts.targets import masked, target_key
from core.config import Settings
from core.errors import DataError
from core.store import Connection, Store
from core.trade_writer import bump_versions, utc_now

# Longer than a message can take to be sent.
CLAIM = timedelta(seconds=60)
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
MOST_EVENTS = 20


def enqueue(con: Connection, event_ids: Sequence[str], urls: Sequence[str], now: datetime) -> None:
    """Have events delivered to targets, in the caller's transaction; what is there stays."""
    for url in dict.fromkeys(urls):
        con.execute(
            "insert into alert_deliveries (event_id, target, label, url, state, tries, "
            "created_at, next_at, sent_at, note) "
            "select n.id, $target, $label, $url, 'waiting', 0, $now, $now, null, '' "
            "from (select unnest($ids) as id) as n where not exists (select 1 from "
            "alert_deliveries as d where d.event_id = n.id and d.target = $target)",
            {
                "ids": list(event_ids),
                "target": target_key(url),
                "label": masked(url),
                "url": url,
                "now": now,
            },
        )
    bump_versions(con, [EVENTS])


def next_due(con: Connection) -> datetime | None:
    """Return when the next delivery is due; None where none waits."""
    row = con.execute(
        "select min(next_at) from alert_deliveries where state = 'waiting'"
    ).fetchone()
    return row[0] if row else None


def sent_lately(con: Connection, now: datetime) -> dict[str, list[datetime]]:
    """Return when messages went to each target in the last minute."""
    rows = con.execute(
        "select distinct target, sent_at from alert_deliveries where sent_at > ? order by sent_at",
        [now - timedelta(minutes=1)],
    ).fetchall()
    found: dict[str, list[datetime]] = {}
    for target, at in rows:
        found.setdefault(target, []).append(at)
    return found


def claim(
    con: Connection,
    settings: Settings,
    now: datetime,
    busy: Collection[str],
    lately: Mapping[str, Sequence[datetime]],
) -> list[Parcel]:
    """Take what is due, a parcel a target; what may not go yet is put off, with the reason.

    ``busy`` targets are left alone. ``lately``: when messages went to each in the last minute.
    """
    rows = con.execute(
        "select target, any_value(url), any_value(label), "
        "list(event_id order by created_at, event_id) from alert_deliveries "
        "where state = 'waiting' and next_at <= ? group by target order by target",
        [now],
    ).fetchall()
    parcels = []
    for target, url, label, ids in rows:
        if target in busy:
            continue
        until, why = _not_before(settings, now, lately.get(target, ()))
        if until is None and (until := left_alone_until(con, target, now)) is not None:
            why = "its target rests after a failure"
        if until is not None:
            _put_off(con, target, ids, until, why)
            continue
        taken = ids[:MOST_EVENTS]
        _put_off(con, target, taken, now + CLAIM)
        parcel = make_parcel(con, target, url, label, taken)
        if parcel.hopeless:
            _give_up(con, target, parcel.hopeless, now)
        if parcel.event_ids:
            parcels.append(parcel)
    if rows:
        bump_versions(con, [EVENTS])
    return parcels


def left_alone_until(con: Connection, target: str, now: datetime) -> datetime | None:
    """Return until when a target that failed is to be left alone; None where it need not be.

    What failed says it: each waits as long as the target asked for, or as its failures say. What
    died keeps the target's own wish.
    """
    row = con.execute(
        "select max(next_at) from alert_deliveries "
        "where target = $target and tries > 0 and state <> 'sent' "
        # No target can ask for more: what waits for longer waits for the end of quiet hours.
        "and next_at > $now and next_at <= $longest",
        {
            "target": target, "now": now,
            "longest": now + timedelta(seconds=LONGEST_RETRY_AFTER_S),
        },
    ).fetchone()  # fmt: skip
    return row[0] if row else None


def _not_before(
    settings: Settings, now: datetime, lately: Sequence[datetime]
) -> tuple[datetime | None, str]:
    quiet = settings.alert_quiet
    if quiet is not None and (until := quiet.until(now)) is not None:
        return until, f"quiet hours until {until:%H:%M} UTC"
    most = settings.alert_per_minute
    within = [at for at in lately if now - at < timedelta(minutes=1)]
    if len(within) >= most:
        return within[-most] + timedelta(minutes=1), f"{most} messages a minute went there"
    return None, ""


def _put_off(
    con: Connection, target: str, ids: Sequence[str], until: datetime, why: str | None = None
) -> None:
    con.execute(
        "update alert_deliveries set next_at = $until, "
        # Why it failed says more than what it waits for now.
        "note = if($why is null or tries > 0, note, $why) "
        "where target = $target and event_id in (select unnest($ids)) and state = 'waiting'",
        {"until": until, "why": why, "target": target, "ids": list(ids)},
    )


def _give_up(con: Connection, target: str, ids: Sequence[str], now: datetime) -> None:
    """End what no message can hold: to try it again is of no use."""
    con.execute(
        "update alert_deliveries set state = 'dead', tries = tries + 1, next_at = $now, "
        "note = $note, url = '' "
        "where target = $target and event_id in (select unnest($ids)) and state = 'waiting'",
        {"now": now, "note": NOT_JSON, "target": target, "ids": list(ids)},
    )


def settle(
    con: Connection, parcel: Parcel, answer: Answer, settings: Settings, now: datetime
) -> None:
    """Write down what came of a parcel: sent, to be tried again, or dead.

    Each event has tries of its own: one that just came does not die with those before it.
    """
    wait_s = 0.0
    if not (answer.is_taken or answer.is_final):
        wait_s = _wait_s(parcel.tries + 1, answer)
    con.execute(
        # Once it is settled nobody needs the secrets in the URL. What is dead waits for nothing,
        # but the target may have asked to be left alone.
        "update alert_deliveries set tries = tries + 1, note = $note, "
        "state = case when $taken then 'sent' when $final or tries + 1 >= $most then 'dead' "
        "else 'waiting' end, "
        "next_at = if(tries + 1 >= $most, $asked_at, $next_at)::timestamp, "
        "url = if($taken or $final or tries + 1 >= $most, '', url), "
        "sent_at = if($taken, $now, null)::timestamp "
        "where target = $target and event_id in (select unnest($ids)) and state = 'waiting'",
        {
            "taken": answer.is_taken, "final": answer.is_final, "most": settings.alert_tries,
            "next_at": now + timedelta(seconds=wait_s), "note": answer.note, "now": now,
            "asked_at": now + timedelta(seconds=wait_s if answer.retry_after_s else 0.0),
            "target": parcel.target, "ids": list(parcel.event_ids),
        },
    )  # fmt: skip
    bump_versions(con, [EVENTS])


def _wait_s(tries: int, answer: Answer) -> float:
    """Return the seconds until the next try: as the target says, else doubling."""
    if answer.retry_after_s is not None:
        return answer.retry_after_s
    wait = min(FIRST_WAIT_S * 2.0 ** (tries - 1), LONGEST_WAIT_S)
    # Many that failed at once should not come back at once.
    return wait * random.uniform(0.8, 1.2)


def redeliver(store: Store, settings: Settings, event_id: str, target: str) -> None:
    """Have a dead delivery tried again, to the target as rules and settings know it now.

    Raises DataError where there is no such dead delivery, or no rule has its target any more.
    """
    with store.write() as con:
        known = {target_key(url): url for rule in load_rules(con) for url in rule.targets}
        known |= {target_key(url): url for url in settings.alert_urls}
        if target not in known:
            raise DataError("no rule and no setting sends to this target any more; add it again")
        changed = con.execute(
            "update alert_deliveries set state = 'waiting', tries = 0, url = $url, "
            "next_at = $now, note = '' "
            "where event_id = $event and target = $target and state = 'dead' returning event_id",
            {"url": known[target], "now": utc_now(), "event": event_id, "target": target},
        ).fetchall()
        if not changed:
            raise DataError("this delivery is not dead (any more)")
        bump_versions(con, [EVENTS])
