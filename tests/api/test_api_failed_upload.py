"""A failed upload that is deleted with what it brought: nothing."""

from __future__ import annotations

from tests.api.conftest import Api, assert_problem

TICK = b'{"symbol": "MYCOIN", "ts": 1730000000000, "price": 1.25, "size": 10}\n'


def test_a_failed_upload_takes_no_other_s_data_with_it(api: Api, home: object) -> None:
    good = api.ask("POST", "/upload_ndjson", files={"file": ("ticks.ndjson", TICK)},
                   data={"dataset": "mine"})  # fmt: skip
    assert good.status_code == 201, good.text
    bad = api.ask("POST", "/upload_ndjson", files={"file": ("bad.ndjson", b"{nothing}\n")},
                  data={"dataset": "mine"})  # fmt: skip
    place = bad.headers["location"].removeprefix("/api")
    assert_problem(bad, 422)
    gone = api.ask("DELETE", f"{place}&data=true")
    assert gone.json()["rows_removed"] == 0
    assert "mycoin@mine" in api.found("/symbols")["symbols"]
    gone = api.ask("DELETE", f"{good.headers['location'].removeprefix('/api')}&data=true")
    assert gone.json()["rows_removed"] == 1
