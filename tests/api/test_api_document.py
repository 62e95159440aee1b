"""The OpenAPI document and its page: valid, whole, and in need of nothing from another host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest
import schemathesis
from starlette.routing import Route, WebSocketRoute

from core.api import api_routes
from core.api.routes import OPERATIONS
from tests.api.conftest import Api

OWED = {
    "/api/ingest/start": {"post"}, "/api/ingest/stop": {"post"}, "/api/ingest/status": {"get"},
    "/api/upload_ndjson": {"post"}, "/api/upload_ohlcv": {"post"},
    "/api/uploads/{id}": {"get", "delete"}, "/api/symbols": {"get"},
    "/api/resampled/{symbol}": {"get"}, "/api/export/{symbol}": {"get"},
    "/api/analytics/pair": {"get"}, "/api/analytics/pair_export": {"get"},
    "/api/analytics/corr_matrix": {"get"}, "/api/alerts": {"get", "post"},
    "/api/alerts/{id}": {"delete"}, "/api/alerts/events": {"get"}, "/api/backtests": {"post"},
    "/api/health": {"get"}, "/api/metrics": {"get"},
}  # fmt: skip


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    answer = api.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    told: dict[str, Any] = answer.json()
    return told


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, op in methods.items():
            yield f"{method} {path}", op


def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(document).validate()
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object", name


def test_every_route_is_in_it_and_nothing_else(document: dict[str, Any]) -> None:
    told = {path: set(methods) for path, methods in document["paths"].items()}
    assert {path: told.get(path) for path in OWED} == OWED
    assert {(op.path, op.method.lower()) for op in OPERATIONS} == {
        (path, method) for path, methods in told.items() for method in methods
    }
    mounted = {one.path for one in api_routes() if isinstance(one, Route)}
    assert mounted - set(told) == {"/api", "/api/docs", "/api/openapi.json", "/api/{rest:path}"}
    assert [one.path for one in api_routes() if isinstance(one, WebSocketRoute)] == ["/ws/live"]


def test_every_operation_has_a_name_words_and_a_tag(document: dict[str, Any]) -> None:
    names = [op["operationId"] for _, op in operations(document)]
    assert len(set(names)) == len(names)
    for name, op in operations(document):
        assert op["summary"], name
        assert len(op["tags"]) == 1, name
        for one in op["parameters"]:
            assert one["description"], (name, one["name"])


def test_defaults_and_examples_are_of_their_own_schemas(document: dict[str, Any]) -> None:
    for name, op in operations(document):
        for one in op["parameters"]:
            schema = one["schema"]
            jsonschema.Draft202012Validator.check_schema(schema)
            given = [schema["default"]] if schema.get("default") is not None else []
            for value in [*given, *schema.get("examples", [])]:
                jsonschema.validate(value, schema)
            assert "null" not in str(schema.get("type", "")), (name, one["name"])


def test_refusals_are_problems_and_references_lead_somewhere(document: dict[str, Any]) -> None:
    text = str(document)
    names = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert names <= set(document["components"]["schemas"])
    for name, op in operations(document):
        for status, answer in op["responses"].items():
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"], (name, status)
    told = document["paths"]["/api/symbols"]["get"]["responses"]
    assert {"400", "404", "413", "503"} <= set(told)


class Page(HTMLParser):
    """What a page would load, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []
        self.ids: set[str] = set()
        self.code = ""
        self._in_code = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in_code = tag in ("code", "pre")
        for name, value in attrs:
            if name in ("src", "href", "action", "srcset", "data", "poster"):
                self.places.append(value or "")
            if name == "id":
                self.ids.add(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._in_code = False

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self.code += f"{data}\n"


def test_every_answer_in_json_has_its_fields(document: dict[str, Any]) -> None:
    schemas, seen = document["components"]["schemas"], 0
    for where, op in operations(document):
        for status, answer in op["responses"].items():
            if status.startswith("2") and "application/json" in answer.get("content", {}):
                name = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                found = schemas[name]
                assert found["required"], (where, status)
                assert found["additionalProperties"] is False, (where, status)
                assert found["description"].endswith("."), (where, status)
                seen += 1
    answers = [media for op in OPERATIONS for media in op.answers.values()]
    assert seen == sum("application/json" in media for media in answers)


def test_the_page_needs_nothing_from_another_host(api: Api) -> None:
    answer = api.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(answer.text)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    for place in page.places:
        assert place == "openapi.json" or place.removeprefix("#") in page.ids, place
    assert set(re.findall(r"(?:https?:)?//([\w.\-:]+)", answer.text)) == {"127.0.0.1:8501"}
    assert not re.search(r"@import|url\(", answer.text)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_the_prefix_alone_leads_to_the_page(api: Api) -> None:
    answer = api.ask("GET", "", follow_redirects=True)
    assert str(answer.url) == f"{api.url}/api/docs"
    assert answer.status_code == 200


def test_the_page_names_every_route_and_parameter(api: Api, document: dict[str, Any]) -> None:
    page = Page(api.get("/docs").text)
    for name, op in operations(document):
        assert op["operationId"] in page.ids, name
        for one in op["parameters"]:
            assert f"{one['name']}\n" in page.code, (name, one["name"])
    answers = ("PairAnalysis", "Scan", "IngestStatus", "Bars", "Backtested", "Upload")
    for schema in ("StartBody", "AlertBody", "BacktestBody", *answers):
        for field in document["components"]["schemas"][schema]["properties"]:
            assert f"{field}\n" in page.code, field
    assert "/ws/live" in page.code
