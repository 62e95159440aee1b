"""What Perpduck counts of itself, as Prometheus text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from starlette.responses import Response

from core.api.calls import Call
from core.live import sources
from core.live.feeder import feeder
from core.live.pulse import Pulse

REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "perpduck_api_requests", "Requests answered.", ["route", "method", "status"], registry=REGISTRY
)
SECONDS = Histogram(
    "perpduck_api_request_seconds", "Time from request to the answer's head.", ["route"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)  # fmt: skip
CLIENTS = Gauge("perpduck_live_clients", "Open connections to /ws/live.", registry=REGISTRY)
DROPPED = Counter(
    "perpduck_live_dropped", "Connections to /ws/live dropped as too slow.", registry=REGISTRY
)

# Name, help, and the field of `core.models.WorkerStatus`.
_GAUGES = (
    ("buffered_trades", "Trades in the worker's queue.", "buffered_trades"),
    ("spilled_trades", "Trades that wait on disk beside the file.", "spilled_trades"),
    ("flush_seconds", "Time that the last write took.", "flush_s"),
    ("worst_flush_seconds", "The longest write of late.", "worst_flush_s"),
    ("trades_per_second", "Trades stored a second.", "trades_per_s"),
    ("connections", "Connections to the exchange.", "connections"),
    ("request_weight_used", "Weight used of the exchange's limit.", "weight_used"),
)
_COUNTERS = (
    ("reconnects", "Connections that had to be made anew.", "reconnects"),
    ("rejected", "Frames or rows that could not be used.", "rejected"),
)
# Of each symbol: name, help, and the column of its status.
_SYMBOL_GAUGES = (
    ("lag_seconds", "How far the symbol is behind the exchange.", "lag_s"),
    ("symbol_trades_per_second", "Trades a second.", "trades_per_s"),
    ("open_gaps", "Gaps that are open.", "open_gaps"),
    ("missing_trades", "Trades known to be missing.", "missing_trades"),
)


def metrics(call: Call) -> Response:
    """Answer with all of it."""
    return Response(generate_latest(REGISTRY), headers={"Cache-Control": "no-store"},
                    media_type=CONTENT_TYPE_LATEST)  # fmt: skip


class _Worker(Collector):
    """Each source's worker and file, as its feeder last read them; a source never used has none."""

    def collect(self) -> Iterator[Any]:
        """Yield a family a number."""
        pulses = {
            name: feeder(source.store).pulse()
            for name in sources.LABELS
            if (source := sources.named(name)).store.exists()
        }
        up = GaugeMetricFamily(
            "perpduck_worker_up", "1 while trades are written.", None, ["source"]
        )
        size = GaugeMetricFamily("perpduck_file_bytes", "The database's size.", None, ["source"])
        for name, pulse in pulses.items():
            up.add_metric([name], float(pulse.health.is_healthy))
            size.add_metric([name], float(sources.named(name).store.size_bytes()))
        yield from (up, size)
        yield from _of_worker(pulses)
        yield from _of_symbols(pulses)


def _of_worker(pulses: dict[str, Pulse]) -> Iterator[Any]:
    for kind, rows in ((GaugeMetricFamily, _GAUGES), (CounterMetricFamily, _COUNTERS)):
        for name, words, place in rows:
            family = kind(f"perpduck_{name}", words, None, ["source"])
            for source, pulse in pulses.items():
                if pulse.status is not None:
                    family.add_metric([source], float(getattr(pulse.status, place)))
            yield family


def _of_symbols(pulses: dict[str, Pulse]) -> Iterator[Any]:
    stored = CounterMetricFamily(
        "perpduck_trades_stored", "Trades stored.", None, ["source", "symbol"]
    )
    for source, pulse in pulses.items():
        for row in pulse.symbols.iter_rows(named=True):
            stored.add_metric([source, row["symbol"]], float(row["trades_stored"] or 0))
    yield stored
    for name, words, column in _SYMBOL_GAUGES:
        family = GaugeMetricFamily(f"perpduck_{name}", words, None, ["source", "symbol"])
        for source, pulse in pulses.items():
            for row in pulse.symbols.iter_rows(named=True):
                if row[column] is not None:
                    family.add_metric([source, row["symbol"]], float(row[column]))
        yield family


REGISTRY.register(_Worker())
