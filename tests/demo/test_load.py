"""Long: thousands of requests in memory that stays, many clients at once, and whatever the description allows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the demo's server needs risctl[demo]")
pytest.importorskip("uvicorn", reason="the demo's server needs risctl[demo]")
from helpers.demo_server import answering, application

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_memory_stays_and_no_request_is_lost() -> None:
    script = REPOSITORY / "benchmarks" / "demo_server.py"
    ran = subprocess.run(
        [sys.executable, script, "--requests", "2000", "--images", "50", "--clients", "16"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout)
    print(ran.stdout)
    assert found["requests"] >= 2500 and found["lost"] == 0
    # Each picture is encoded once, however often it is asked about, by 16 clients at once as well.
    assert found["encoded"] == found["images"]
    memory = found["memory_mb"]
    assert memory["after"] - memory["warm"] < 40 and memory["end"] - memory["warm"] < 60


@pytest.mark.slow
def test_whatever_the_description_allows_is_answered_as_it_says() -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: pip install 'risctl[test]'")
    with answering(application(limits={"body_bytes": 200_000, "pixels": 40_000})) as address:
        schema = schemathesis.openapi.from_url(f"{address}openapi.json")
        operations = [one.ok() for one in schema.get_all_operations()]
        assert len(operations) >= 7
        for operation in operations:
            _conforms(operation)


def _conforms(operation: Any) -> None:
    from hypothesis import HealthCheck, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    # No schema can say that bytes are an image: what is made up by the description is rightly refused.
    unsaid = [positive_data_acceptance]

    @given(case=operation.as_strategy())
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def run(case: Any) -> None:
        case.call_and_validate(excluded_checks=unsaid)

    run()
