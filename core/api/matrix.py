"""The correlation matrix, as the Correlation page has it."""

from __future__ import annotations

import numpy as np
from starlette.responses import Response

from core.api.answers import json_answer, unchanged, written_time
from core.api.calls import Call
from core.api.parameters import MOST_SYMBOLS, MatrixQuery, timeframe_of
from core.api.problems import Problem, bad_parameter
from core.api.subjects import range_of, subject_of
from core.bar_sql import timeframe_seconds
from core.live.matrix import MatrixChoice, matrix_view


def corr_matrix(call: Call) -> Response:
    """Answer with the symbols and their correlations, null where one is not known."""
    asked: MatrixQuery = call.query
    subject = subject_of(asked.source)
    names = [name for name in (one.strip() for one in asked.symbols.split(",")) if name]
    keys = subject.keys(names[: MOST_SYMBOLS + 1], asked.dataset)
    if not 2 <= len(keys) <= MOST_SYMBOLS:
        raise bad_parameter(
            "symbols", f"{len(keys)} different symbols; give 2 to {MOST_SYMBOLS}",
            {"minItems": 2, "maxItems": MOST_SYMBOLS},
        )  # fmt: skip
    timeframe = timeframe_of(asked.timeframe)
    span = range_of(asked.range, timeframe_seconds(timeframe))
    choice = MatrixChoice(
        tuple(keys), timeframe, span, asked.on, asked.kind, False, asked.min_volume
    )
    view = matrix_view(subject.feed, subject.pulse, choice, is_waited_for=True)
    if view is None:
        raise Problem(422, "No bar is closed yet; wait, or choose shorter bars.")
    values = view.matrix.values
    etag = call.etag(subject.feed.store.path, keys, view.start, view.end, values.tobytes())
    if call.has(etag):
        return unchanged(etag)
    return json_answer(
        {
            "symbols": keys,
            "matrix": np.where(np.isfinite(values), values, np.nan).tolist(),
            "timeframe": timeframe,
            "on": asked.on,
            "kind": asked.kind,
            "start": written_time(view.start, asked.ts_format),
            "end": written_time(view.end, asked.ts_format),
            "bars": dict(zip(keys, view.panel.bars, strict=True)),
        },
        etag=etag,
    )
