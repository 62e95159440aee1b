"""Scans of the market for programs: what the Scanner page has, and a way to begin one."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct
from starlette.responses import Response

from core.api.answers import file_answer, json_answer, unchanged, written_time
from core.api.calls import Call
from core.api.parameters import Listed, Symbol, Timeframe, timeframe_of
from core.api.problems import Problem, bad_parameter
from core.api.subjects import Subject, location, subject_of
from core.errors import DataError
from core.live.questions import newest
from core.live.scans import KeptScan, begin_scan, scan_run
from core.scanning.report import ScanReport
from core.scanning.running import CANCELLED, FAILED, RUNNING
from core.scanning.settings import (
    LEAST_LEVEL,
    MOST_CARRY,
    MOST_FINALISTS,
    MOST_LAG,
    ScanSettings,
    Span,
)
from core.scanning.telling import told

MOST_SYMBOLS = 2_000
_DAY_S = 86_400.0
_PAGE = ScanSettings()
Share = Annotated[float, Meta(ge=0, le=1)]


class ScanQuery(Listed, kw_only=True):
    """A scan that was kept."""

    limit: Annotated[int, Meta(description="The best so many pairs.", ge=1, le=3_000)] = 500
    format: Annotated[
        Literal["json", "csv", "parquet", "arrow"], Meta(description="The table alone as a file.")
    ] = "json"


class ScanBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to scan, under the names of core.scanning.settings."""

    symbols: Annotated[
        list[Symbol], Meta(description="None given: all that are stored.", max_length=MOST_SYMBOLS)
    ] = []
    timeframe: Timeframe = _PAGE.timeframe
    span: Annotated[Span, Meta(description="Training and test together.")] = _PAGE.span
    test_share: Annotated[float, Meta(ge=0.1, le=0.5)] = _PAGE.test_share
    lag: Annotated[int, Meta(ge=0, le=MOST_LAG)] = _PAGE.lag
    aic: Annotated[bool, Meta(description="Let AIC choose up to lag.")] = _PAGE.is_aic
    carry_bars: Annotated[int, Meta(ge=0, le=MOST_CARRY)] = _PAGE.carry_bars
    min_coverage: Share = _PAGE.min_coverage
    min_turnover: Annotated[float, Meta(ge=0, le=1e15, description="Quote units a day.")] = (
        _PAGE.min_turnover
    )
    min_age_days: Annotated[float, Meta(ge=0, le=1e4)] = 0.0
    min_correlation: Share = _PAGE.min_correlation
    max_half_life_bars: Annotated[float, Meta(ge=0, le=1e6)] = _PAGE.max_half_life_bars
    min_sigma_per_cost: Annotated[float, Meta(ge=0, le=1e6)] = _PAGE.min_sigma_per_cost
    correction: Literal["by", "bh"] = _PAGE.correction
    level: Annotated[float, Meta(ge=LEAST_LEVEL, le=0.5)] = _PAGE.level
    finalists: Annotated[int, Meta(ge=1, le=MOST_FINALISTS)] = _PAGE.finalists
    fee_bps: Annotated[float, Meta(ge=0, le=1000)] = _PAGE.fee_bps
    slippage_bps: Annotated[float, Meta(ge=0, le=1000)] = _PAGE.slippage_bps


def latest(call: Call) -> Response:
    """Answer with the newest scan that is kept."""
    return _answer(call, None)


def one(call: Call) -> Response:
    """Answer with a scan: kept, or how far the one is that is on its way."""
    return _answer(call, call.path["id"])


def begin(call: Call) -> Response:
    """Begin a scan; where to look for it is in Location."""
    subject = subject_of(call.query.source)
    run = begin_scan(subject.source.store, _settings(subject, call.body), asked_by="program")
    return json_answer(
        {"id": run.id, "state": run.standing.state},
        202,
        headers=location(subject.source, "scans", run.id),
    )


def _settings(subject: Subject, body: ScanBody) -> ScanSettings:
    keys = tuple(sorted({subject.key(name) for name in body.symbols}))
    timeframe = timeframe_of(body.timeframe)
    try:
        return ScanSettings(
            keys, timeframe, body.span, body.test_share, body.lag, body.aic, body.carry_bars,
            body.min_coverage, body.min_turnover, body.min_age_days * _DAY_S, body.min_correlation,
            body.max_half_life_bars, body.min_sigma_per_cost, body.correction, body.level,
            body.finalists, body.fee_bps, body.slippage_bps,
        )  # fmt: skip
    except DataError as error:
        # What one number may be is said above; the range must also hold bars enough.
        raise bad_parameter("span", str(error)) from error


def _answer(call: Call, scan_id: str | None) -> Response:
    subject = subject_of(call.query.source)
    run = scan_run(subject.source.store)
    if scan_id is not None and run is not None and run.id == scan_id:
        standing = run.standing
        if standing.state == FAILED and standing.error is not None:
            raise standing.error
        if standing.state == CANCELLED:
            raise Problem(404, "The scan was cancelled; begin another one.")
        if standing.state == RUNNING:
            return json_answer(
                {"id": run.id, "state": RUNNING, "words": standing.words, "share": standing.share},
                202,
            )
    answer = newest(subject.feed, KeptScan(scan_id))
    report: ScanReport | None = answer.value
    if report is None:
        words = "No scan is kept yet; POST /api/scans begins one."
        raise Problem(404, words if scan_id is None else f"There is no scan {scan_id!r}.")
    etag = call.etag(report.id, answer.version)
    if call.has(etag):
        return unchanged(etag)
    asked: ScanQuery = call.query
    if asked.format != "json":
        rows = report.pairs.head(asked.limit).drop("spark")
        return file_answer([rows], asked.format, f"perpduck-scan-{report.id}", etag=etag)
    return json_answer(
        {
            "state": "done",
            **told(report, lambda at: written_time(at, asked.ts_format), asked.limit),
        },
        etag=etag,
    )
