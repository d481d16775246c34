"""Requests made up from our own OpenAPI description: no answer is a fault of ours."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from avsafe.home import Home
from avsafe.registry.database import Database
from avsafe.server import waiting
from avsafe.server.app import create_app
from avsafe.server.people import People
from avsafe.server.settings import Settings

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = 12  # of each route


@pytest.fixture(scope="module")
def key_and_schema(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("fuzz")).ensure()
    with Database.open(home.database) as database:
        key = People(database).add("ada", "lab", "owner")
    app = create_app(Settings(home=home, generate=True, detectors="none", max_upload_mb=1))
    return key, schemathesis.openapi.from_asgi("/openapi.json", app)


def test_no_answer_is_a_fault_of_ours(key_and_schema, monkeypatch):
    async def at_once(jobs, job, within_s):
        return jobs.cancel(job.id)

    monkeypatch.setattr(waiting, "_ended", at_once)  # nobody makes pictures here
    key, schema = key_and_schema
    tried = set()
    for operation in schema.get_all_operations():
        one = operation.ok()

        @given(case=one.as_strategy())
        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case):
            for bearer in (key, "x"):
                answer = case.call(headers={"Authorization": f"Bearer {bearer}"})
                assert answer.status_code < 500, (case.method, case.path, answer.content[:300])

        ask()
        tried.add(f"{one.method.upper()} {one.path}")
    assert len(tried) > 15
    assert "POST /v1/videos" in tried
