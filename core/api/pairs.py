"""A pair's analysis as the Pair page has it, and its rows as a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import polars as pl
from starlette.responses import Response

from core.alerts.questions import Events
from core.api.alerts import events_told
from core.api.answers import (
    TimeFormat,
    file_answer,
    json_answer,
    keyed,
    unchanged,
    written_time,
    written_times,
)
from core.api.calls import Call
from core.api.parameters import PairExportQuery, PairQuery, RangedPair
from core.api.problems import Problem
from core.api.subjects import Subject, pair_of, range_of, subject_of
from core.backtest.classic import classic
from core.exporting import pair_columns
from core.live.pair import Stand, pair_stand
from core.live.questions import newest
from core.pair_spec import Outcome, PairSpec, Provenance
from core.pairs import PairAnalysis
from core.verdict import caveats, verdict_words

SERIES = ("spread", "zscore", "corr")
_FILE_COLUMNS = ("ts", *SERIES)
_EVENTS = 20
# A file is sent in pieces of so many rows.
_PART_ROWS = 50_000


def analytics(call: Call) -> Response:
    """Answer with the pair's whole analysis."""
    asked: PairQuery = call.query
    subject, spec, stand = _asked(asked)
    events = newest(subject.feed, Events(_EVENTS, spec.y, spec.x))
    etag = call.etag(stand.origin, stand.mark, stand.version, events.version)
    if call.has(etag):
        return unchanged(etag)
    return json_answer(
        {
            **_document(spec, stand, asked.limit, asked.ts_format),
            "alerts": events_told(events.value, asked.ts_format),
        },
        etag=etag,
    )


def pair_export(call: Call) -> Response:
    """Answer with the pair's rows as a file: ts, spread, zscore, corr."""
    asked: PairExportQuery = call.query
    _, spec, stand = _asked(asked)
    etag = call.etag(stand.origin, stand.mark, stand.version)
    if call.has(etag):
        return unchanged(etag)
    parts = pair_columns(stand.series).select(_FILE_COLUMNS).iter_slices(_PART_ROWS)
    name = f"perpduck-{spec.y}-{spec.x}-{spec.timeframe}"
    return file_answer(parts, asked.format, name, asked.ts_format, etag=etag)


def _asked(asked: RangedPair) -> tuple[Subject, PairSpec, Stand]:
    subject = subject_of(asked.source)
    spec = pair_of(subject, asked)
    # A dataset is another pulse: nothing of it is live.
    for key in (spec.y, spec.x):
        subject.bounds(key, spec.timeframe)
    span = range_of(asked.range, spec.bar_s)
    stand = pair_stand(subject.feed, subject.pulse, spec, span, is_waited_for=True)
    if stand is None:
        raise Problem(
            422,
            f"No {spec.timeframe} bar of both {spec.y.upper()} and {spec.x.upper()} is closed yet; "
            "wait, or choose shorter bars.",
        )
    return subject, spec, stand


def _document(spec: PairSpec, stand: Stand, limit: int, ts_format: TimeFormat) -> dict[str, Any]:
    analysis, moment = stand.analysis, stand.moment
    newest = stand.series.tail(1)
    tail = stand.series.tail(limit)
    times = written_times(tail["ts"], ts_format).to_list()
    return {
        "pair": {**dataclasses.asdict(spec), "is_in_sample": spec.is_in_sample},
        "range": {
            "start": written_time(moment.start, ts_format),
            "end": written_time(moment.as_of, ts_format),
            "rows": stand.series.height,
        },
        "verdict": _verdict(spec, stand, ts_format),
        "hedge": _hedge(spec, analysis, newest, ts_format),
        "adf": _told(
            analysis.adf, ts_format, stat="statistic", pvalue="p_value", nobs="n_obs", lags="lag",
            critical_values="critical_values",
        ),
        "cointegration": _cointegration(analysis, ts_format),
        "half_life": _half_life(spec, analysis, ts_format),
        **{name: keyed(times, tail[name]) for name in SERIES},
        "backtest": _classic(stand, limit, ts_format),
        "last": {
            "ts": written_time(newest["ts"][0], ts_format),
            "zscore": newest["zscore"][0],
            "spread": newest["spread"][0],
            "note": analysis.last("zscore").reason if newest["zscore"][0] is None else None,
        },
    }  # fmt: skip


def _verdict(spec: PairSpec, stand: Stand, ts_format: TimeFormat) -> dict[str, Any]:
    found = stand.verdict
    zscore = stand.series["zscore"][-1]
    return {
        "words": verdict_words(found, bar_s=spec.bar_s, zscore=zscore),
        "kind": found.kind,
        "level": found.level,
        "pvalue": found.bootstrap.p if found.bootstrap else None,
        "at": written_time(found.at, ts_format),
        "bars": found.bars,
        "caveats": list(caveats(found, bar_s=spec.bar_s)),
    }


def _hedge(
    spec: PairSpec, analysis: PairAnalysis, newest: pl.DataFrame, ts_format: TimeFormat
) -> dict[str, Any]:
    held = {"ols": analysis.ols, "tls": analysis.tls}.get(spec.method)
    fit = held.value if held else None
    stands = analysis.last("beta")
    return {
        "beta": newest["beta"][0],
        "intercept": newest["alpha"][0],
        "rsq": fit.r_squared if fit else None,
        "method": spec.method,
        "is_in_sample": spec.is_in_sample,
        "note": stands.reason
        or (None if fit else f"{spec.method} is fitted anew at every bar: it has no one r squared"),
        "stands_on": _stands_on(stands.provenance, ts_format),
    }


def _cointegration(analysis: PairAnalysis, ts_format: TimeFormat) -> dict[str, Any]:
    names = {
        "stat": "statistic", "pvalue": "p_value", "nobs": "n_obs", "lags": "lag", "beta": "beta",
        "intercept": "alpha", "rsq": "r_squared",
    }  # fmt: skip
    return {
        "y_on_x": _told(analysis.y_on_x, ts_format, **names),
        "x_on_y": _told(analysis.x_on_y, ts_format, **names),
        "johansen": _told(
            analysis.johansen, ts_format, trace="trace_statistic",
            trace_critical="trace_critical", max_eig="max_eig_statistic",
            max_eig_critical="max_eig_critical", beta="beta",
        ),
    }  # fmt: skip


def _half_life(spec: PairSpec, analysis: PairAnalysis, ts_format: TimeFormat) -> dict[str, Any]:
    found = _told(
        analysis.half_life, ts_format, bars="bars", low="low", high="high", phi="phi",
        nobs="n", note="reason",
    )  # fmt: skip
    bars = found["bars"]
    return {**found, "seconds": None if bars is None else bars * spec.bar_s}


def _told(outcome: Outcome[Any], ts_format: TimeFormat, **names: str) -> dict[str, Any]:
    """Return a result's numbers under the names given; null with a note where there is none."""
    value = outcome.value
    found = {name: getattr(value, own, None) for name, own in names.items()}
    if value is None:
        found["note"] = outcome.reason
    return {**found, "stands_on": _stands_on(outcome.provenance, ts_format)}


def _stands_on(found: Provenance, ts_format: TimeFormat) -> Mapping[str, Any]:
    told = dataclasses.asdict(found)
    times = {name: written_time(told[name], ts_format) for name in ("start", "end")}
    return {**told, **times}


def _classic(stand: Stand, limit: int, ts_format: TimeFormat) -> dict[str, Any]:
    """Return the field's classic mini backtest, with what it leaves out."""
    series = stand.series
    zscore = series["zscore"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    done = classic(zscore)
    times = written_times(series["ts"], ts_format)
    trades = done.trades.with_columns(
        entry_ts=times.gather(done.trades["entry_row"]),
        exit_ts=times.gather(done.trades["exit_row"]),
    ).drop("entry_row", "exit_row")
    equity = pl.Series(done.equity).tail(limit)
    return {
        "trades": trades.tail(limit).to_dicts(),
        "equity": keyed(times.tail(limit).to_list(), equity),
        "note": "The classic mini backtest, in units of z: it trades at the very close that made "
        "the signal and pays nothing. POST /api/backtests has one with costs.",
    }
