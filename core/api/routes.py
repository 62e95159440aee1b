"""The routes: the table of operations, and how each becomes a request's answer."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from anyio import CapacityLimiter, to_thread
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from core.api import (
    alerts,
    backtests,
    bars,
    docs,
    ingest,
    live,
    matrix,
    metrics,
    pairs,
    replies,
    scans,
    uploads,
)
from core.api.answers import FILES, JSON
from core.api.calls import Call, Operation, Threads
from core.api.limits import Gone
from core.api.openapi import document
from core.api.parameters import (
    BarsQuery,
    DeleteUpload,
    EventsQuery,
    ExportQuery,
    Listed,
    MatrixQuery,
    PairExportQuery,
    PairQuery,
    UploadQuery,
    Where,
    converted,
    parsed_query,
)
from core.api.problems import Problem, problem_of, problem_response
from core.errors import PerpduckError

logger = logging.getLogger(__name__)

# Threads that answer requests: the pages have theirs, and a flood must not take them.
THREADS: dict[Threads, int] = {"answers": 12, "analyses": 4, "backtests": 2}
_HTML = "text/html; charset=utf-8"

OPERATIONS: tuple[Operation, ...] = (
    Operation("POST", "/api/ingest/start", "Follow symbols", Listed, ingest.start,
              words="Adds to the watchlist and starts the worker if none runs.",
              body=ingest.StartBody, answers={200: (JSON,), 202: (JSON,)},
              replies={200: replies.IngestStatus, 202: replies.IngestStatus}, problems=(409, 415),
              tag="Worker"),
    Operation("POST", "/api/ingest/stop", "Stop the worker", Listed, ingest.stop,
              answers={202: (JSON,)}, replies={202: replies.IngestStatus},
              problems=(409,), tag="Worker"),
    Operation("GET", "/api/ingest/status", "How the worker fares", Listed, ingest.status,
              replies={200: replies.IngestStatus},
              tag="Worker"),
    Operation("GET", "/api/health", "Whether trades are being written", Where, ingest.health,
              replies={200: replies.Health},
              tag="Worker"),
    Operation("GET", "/api/metrics", "Everything counted, for Prometheus", Where, metrics.metrics,
              answers={200: (CONTENT_TYPE_LATEST.split(";")[0],)}, tag="Worker"),
    Operation("GET", "/api/symbols", "What is stored and watched", Where, bars.symbols,
              replies={200: replies.Symbols},
              tag="Bars", has_etag=True),
    Operation("GET", "/api/resampled/{symbol}", "Bars", BarsQuery, bars.resampled,
              replies={200: replies.Bars},
              problems=(422,), tag="Bars", has_etag=True),
    Operation("GET", "/api/export/{symbol}", "Bars as a file", ExportQuery, bars.export,
              answers={200: FILES}, problems=(422,), tag="Bars", has_etag=True),
    Operation("GET", "/api/analytics/pair", "A pair's whole analysis", PairQuery, pairs.analytics,
              words="As the Pair page has it: hedge, tests, half-life, series keyed by time.",
              replies={200: replies.PairAnalysis},
              problems=(422,), tag="Pairs", has_etag=True, threads="analyses"),
    Operation("GET", "/api/analytics/pair_export", "A pair's rows as a file", PairExportQuery,
              pairs.pair_export, answers={200: FILES}, problems=(422,), tag="Pairs", has_etag=True,
              threads="analyses"),
    Operation("GET", "/api/analytics/corr_matrix", "Correlations of many symbols", MatrixQuery,
              matrix.corr_matrix, replies={200: replies.Matrix}, problems=(422,), tag="Pairs",
              has_etag=True, threads="analyses"),
    Operation("POST", "/api/backtests", "Run a backtest", Listed, backtests.backtest,
              words="The Backtest page's engine: costs, funding, no look-ahead.",
              body=backtests.BacktestBody, replies={200: replies.Backtested},
              problems=(415, 422), tag="Pairs", threads="backtests"),
    Operation("GET", "/api/scans/latest", "The newest scan of the market", scans.ScanQuery,
              scans.latest, answers={200: (JSON, *FILES)}, replies={200: replies.Scan},
              tag="Scans", has_etag=True),
    Operation("GET", "/api/scans/{id}", "One scan, or how far it is", scans.ScanQuery, scans.one,
              answers={200: (JSON, *FILES), 202: (JSON,)},
              replies={200: replies.Scan, 202: replies.ScanOnItsWay}, problems=(422,), tag="Scans",
              has_etag=True),
    Operation("POST", "/api/scans", "Begin a scan", Where, scans.begin,
              words="Tests all pairs at once; one scan a file at a time.",
              body=scans.ScanBody, answers={202: (JSON,)}, replies={202: replies.ScanBegun},
              problems=(409, 415, 422), tag="Scans"),
    Operation("POST", "/api/alerts", "Add an alert rule", Listed, alerts.add,
              body=alerts.AlertBody, answers={201: (JSON,)}, replies={201: replies.AlertRule},
              problems=(409, 415), tag="Alerts"),
    Operation("GET", "/api/alerts", "All rules and where each stands", Listed, alerts.listed,
              replies={200: replies.AlertRules}, tag="Alerts"),
    Operation("GET", "/api/alerts/events", "What fired", EventsQuery, alerts.events,
              replies={200: replies.Events}, tag="Alerts"),
    Operation("DELETE", "/api/alerts/{id}", "Remove a rule", Where, alerts.delete,
              answers={204: ()}, tag="Alerts"),
    Operation("POST", "/api/upload_ndjson", "Bring ticks", UploadQuery,
              async_handler=uploads.upload_ndjson,
              form={"file": "NDJSON, CSV or Parquet of symbol, ts, price, perhaps size, id, side.",
                    "dataset": "Optional: the dataset's name; without it made of the file's.",
                    "symbol": "Optional: of ticks that name none."},
              answers={201: (JSON,), 202: (JSON,)},
              replies={201: replies.Upload, 202: replies.Upload},
              problems=(415, 422, 507), tag="Uploads"),
    Operation("POST", "/api/upload_ohlcv", "Bring bars", UploadQuery,
              async_handler=uploads.upload_ohlcv,
              form={"file": "CSV of ts, open, high, low, close, volume.",
                    "symbol": "Whose bars they are.", "timeframe": "What one bar covers."},
              answers={201: (JSON,), 202: (JSON,)},
              replies={201: replies.Upload, 202: replies.Upload},
              problems=(415, 422, 507), tag="Uploads"),
    Operation("GET", "/api/uploads/{id}", "How far an upload is", UploadQuery, uploads.upload,
              replies={200: replies.Upload}, tag="Uploads"),
    Operation("DELETE", "/api/uploads/{id}", "Stop or forget an upload", DeleteUpload,
              uploads.delete_upload, answers={200: (JSON,), 202: (JSON,)},
              replies={200: replies.UploadDeleted, 202: replies.Upload}, problems=(409,),
              tag="Uploads"),
)  # fmt: skip


def api_routes() -> list[BaseRoute]:
    """Return all routes, to be mounted beside the pages."""
    described = document(OPERATIONS)
    page = docs.page(described)
    return [
        Route("/api/openapi.json", _Any(_static(msgspec.json.encode(described), JSON))),
        Route("/api/docs", _Any(_static(page, _HTML, docs.HEADERS))),
        Route("/api", _Any(_to_docs)),
        *(Route(path, _Any(_by_method(path))) for path in _paths()),
        WebSocketRoute("/ws/live", live.live),
        Route("/api/{rest:path}", _Any(_unknown)),
    ]


class _Any:
    """An endpoint that gets every method: a refusal is a problem document like every other."""

    def __init__(self, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = await self._endpoint(Request(scope, receive, send))
        await answer(scope, receive, send)


def _paths() -> list[str]:
    # A fixed path goes before one with a part that fits anything.
    return sorted({op.path for op in OPERATIONS}, key=lambda path: ("{" in path, path))


def _by_method(path: str) -> Callable[[Request], Awaitable[Response]]:
    known: dict[str, Operation] = {op.method: op for op in OPERATIONS if op.path == path}

    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        op = known.get(method)
        if op is None:
            return _counted(path, "other", _not_allowed(path, known), None)
        began = time.perf_counter()
        return _counted(path, request.method, await _answer(op, request), began)

    return endpoint


def _not_allowed(path: str, known: Iterable[str]) -> Response:
    """Return the refusal of a method; what can be got can also be asked for by HEAD."""
    allowed = ", ".join(sorted({*known, *(["HEAD"] if "GET" in known else [])}))
    return problem_response(Problem(405, f"{path} takes {allowed}.", headers={"Allow": allowed}))


def _counted(path: str, method: str, answer: Response, began: float | None) -> Response:
    metrics.REQUESTS.labels(path, method, str(answer.status_code)).inc()
    if began is not None:
        metrics.SECONDS.labels(path).observe(time.perf_counter() - began)
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    return answer


@functools.lru_cache(maxsize=1)
def _limiters() -> dict[Threads, CapacityLimiter]:
    return {name: CapacityLimiter(count) for name, count in THREADS.items()}


async def _answer(op: Operation, request: Request) -> Response:
    """Return the operation's answer; whatever goes wrong is a problem document."""
    try:
        query = parsed_query(op.query, request.query_params.multi_items())
        body = await _body(op.body, request) if op.body is not None else None
        if op.form:
            _demand_type(request, "multipart/form-data")
        call = Call(request.path_params, query, body, request.headers.get("if-none-match", ""))
        if op.async_handler is not None:
            return await op.async_handler(call, request)
        assert op.handler is not None
        return await to_thread.run_sync(op.handler, call, limiter=_limiters()[op.threads])
    except Problem as problem:
        return problem_response(problem)
    except PerpduckError as error:
        return problem_response(problem_of(error))
    except ClientDisconnect:
        return Response(status_code=400)
    except Gone:
        raise
    except Exception as error:
        logger.exception("%s %s failed", op.method, op.path)
        words = f"{type(error).__name__}; please report this with the log."
        return problem_response(Problem(500, words))


async def _body(kind: type[Struct], request: Request) -> Struct:
    _demand_type(request, JSON)
    try:
        found = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise Problem(400, "The body is nested too deeply.") from None
    if not isinstance(found, dict):
        raise Problem(400, "The body has to be a JSON object.")
    return converted(kind, found)


def _demand_type(request: Request, wanted: str) -> None:
    given = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if given != wanted:
        raise Problem(415, f"Content-Type is {given or 'not given'}; send {wanted}.")


def _static(
    body: bytes, media: str, headers: dict[str, str] | None = None
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _not_allowed(request.url.path, ["GET"])
        return Response(body, headers=headers, media_type=media)

    return endpoint


async def _to_docs(request: Request) -> Response:
    # Relative, so that it holds behind a proxy's prefix as well.
    return RedirectResponse("api/docs")


async def _unknown(request: Request) -> Response:
    return problem_response(Problem(404, f"There is no {request.url.path}; see /api/docs."))
