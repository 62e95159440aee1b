"""What ``ingest_worker.py --check`` says and does: for service managers and cron."""

from __future__ import annotations

from core import queries
from core.alerts.sentry import keep_watch
from core.config import Settings
from core.errors import StoreError
from core.models import WorkerStatus
from core.store import Store, open_store
from core.supervisor import WorkerLock, worker_health


def check(settings: Settings) -> tuple[bool, list[str]]:
    """Return whether trades are written as they should be, and what there is to say.

    Without a worker it looks at the alert rules on the worker and the feed in its place.
    """
    store = open_store(settings.db)
    status: WorkerStatus | None = None
    rows: list[str] = []
    if store.exists():
        try:
            with store.read() as con:
                status = queries.load_worker_status(con)
                symbols = queries.load_symbol_status(con)
        except StoreError as error:
            alive = "a worker lives" if WorkerLock(settings.db).is_held() else "no worker lives"
            return False, [f"unknown: {error} ({alive})"]
        rows = [
            f"{row['symbol']}: {row['state']}, last {row['last_price']}, lag {row['lag_s']} s, "
            f"{row['trades_per_s']:g} trades/s, {row['open_gaps']} open gaps {row['note']}"
            for row in symbols.iter_rows(named=True)
        ]
    health = worker_health(settings.db, status)
    lines = [f"{health.state}: {health.reason} {health.remedy}".strip()]
    if status is not None:
        lines += [_described(status), *rows]
    return health.is_healthy, lines + _alerts(store, settings)


def _described(status: WorkerStatus) -> str:
    return (
        f"pid {status.pid} on {status.host}, venue {status.venue}, version {status.version}, "
        f"last sign of life {status.updated_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"{status.trades_per_s:g} trades/s, buffer {status.buffered_trades}, "
        f"flush {status.flush_s * 1000:.0f} ms"
    )


def _alerts(store: Store, settings: Settings) -> list[str]:
    try:
        fired = keep_watch(store, settings)
    except StoreError as error:
        return [f"alerts were not looked at: {error}"]
    return [f"{fired} alert rule{'s' if fired > 1 else ''} fired"] if fired else []
