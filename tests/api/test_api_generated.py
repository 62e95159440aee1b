"""Whatever is asked, by the OpenAPI document or against it: no 5xx, and only documented answers.

Schemathesis makes the cases: its fixed ones at the edges of every schema, and random ones from a
fixed seed, most of which name symbols that there are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from core.api.routes import OPERATIONS
from core.importing import jobs, running
from core.live import sources
from core.live.scans import scan_run
from tests.api.conftest import Api
from tests.pages.test_pair_page import SYMBOLS, pair_store

LABELS = sorted(f"{op.method} {op.path}" for op in OPERATIONS)
CHECKS = [
    negative_data_rejection, status_code_conformance, content_type_conformance,
    unsupported_method, allow_header_conformance, response_schema_conformance,
]  # fmt: skip
RANDOM = 25
WANTED = 2_000
NAMED = ("symbol", "x", "y", "symbol_x", "symbol_y")
asked: Counter[str] = Counter()
answered: Counter[int] = Counter()


class Asker:
    """Asks what Schemathesis makes, over one connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json")

    def operation(self, label: str) -> Any:
        found = self.schema.find_operation_by_label(label)
        assert found is not None, label
        return found

    def ask(self, label: str, case: Any) -> None:
        answer = case.call(base_url=self.url, session=self.session)
        asked[label] += 1
        answered[answer.status_code] += 1
        # A file that an import or a scan holds is said to be busy; nothing else may go wrong.
        is_busy = answer.status_code == 503 and "retry-after" in answer.headers
        assert answer.status_code < 500 or is_busy, (
            f"{case.as_curl_command()}\n{answer.status_code} {answer.content[:500]!r}"
        )
        # What is given as nothing counts as not given, whatever its schema says.
        is_empty = re.search(r"=(&|$)", urlsplit(answer.request.url or "").query)
        case.validate_response(answer, checks=CHECKS[is_empty is not None :])


@pytest.fixture(scope="module")
def asker(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """The routes on five minutes of trades; no worker is started, imports run in the thread."""
    home = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as patch:
        # Whichever source a case names, it is this file.
        patch.setenv("PERPDUCK_DB", str(home / "practice-7.duckdb"))
        patch.setattr(sources, "start_worker", lambda *_, **__: 4242)
        patch.setattr(jobs, "_spawn", running.run_job)
        patch.setattr(running, "step_back", lambda: None)
        store = pair_store(home, 300)
        made = Asker(api.url)
        yield made
        made.session.close()
        if (scan := scan_run(store)) is not None:
            scan.cancel()
            scan.wait(60)


@pytest.mark.parametrize("label", LABELS)
def test_the_edges_of_every_schema(asker: Asker, label: str) -> None:
    operation = asker.operation(label)
    config = asker.schema.config.generation_for(operation=operation)
    for case in asker.schema.iter_coverage_cases(
        operation, generation_modes=list(GenerationMode), generation_config=config
    ):
        asker.ask(label, case)


def named(case: Any, symbols: list[str]) -> None:
    """Give a case symbols that there are, where it names any."""
    for place in (case.path_parameters, case.query, case.body):
        if not isinstance(place, dict):
            continue
        for name, symbol in zip(NAMED, symbols, strict=True):
            if isinstance(place.get(name), str) and place[name]:
                place[name] = symbol
        if isinstance(place.get("symbols"), str):
            place["symbols"] = ",".join(symbols)
        place.pop("dataset", None)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("label", LABELS)
def test_random_questions(asker: Asker, label: str, mode: GenerationMode) -> None:
    operation = asker.operation(label)
    symbols = st.lists(st.sampled_from(SYMBOLS), min_size=5, max_size=5)

    @settings(
        max_examples=RANDOM, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode), symbols=symbols, real=st.booleans())
    def question(case: Any, symbols: list[str], real: bool) -> None:
        if real and mode is GenerationMode.POSITIVE:
            named(case, symbols)
        asker.ask(label, case)

    question()


def test_enough_was_asked_and_answered(request: pytest.FixtureRequest) -> None:
    if len(asked) < len(LABELS):
        pytest.skip("only some of the module's tests were run")
    assert asked.total() >= WANTED, asked
    assert answered[503] <= WANTED / 100, answered
    assert {200, 201, 202, 400, 404, 405, 409, 415, 422} <= set(answered), answered
