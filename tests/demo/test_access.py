"""Who is let in: hosts, origins, tokens; and what the answers' headers allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the demo's server needs risctl[demo]")
from helpers.demo_server import application, asked

TOKEN = "a-token-of-24-characters"


@pytest.fixture(scope="module")
def own() -> Iterator[Any]:
    with asked(application(hosts=["box.example"])) as client:
        yield client


@pytest.fixture(scope="module")
def shared_with() -> Iterator[Any]:
    with asked(application(token=TOKEN, shared=True)) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost:1", 200),
        ("[::1]:8765", 200),
        ("LOCALHOST.", 200),
        ("box.example", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.168.1.20", 421),
        ("", 421),
    ],
)
def test_a_strangers_name_is_refused(own: Any, host: str, status: int) -> None:
    assert own.get("/health", headers={"host": host}).status_code == status


def test_what_is_shared_is_asked_by_any_number_and_no_name(shared_with: Any) -> None:
    assert shared_with.get("/health", headers={"host": "192.168.1.20:80"}).status_code == 200
    assert shared_with.get("/health", headers={"host": "evil.example"}).status_code == 421


def test_pages_of_others_may_not_ask(own: Any) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        answer = own.post("/v1/segment", headers={"origin": origin})
        assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
    assert own.get("/health", headers={"origin": "http://127.0.0.1"}).status_code == 200
    assert own.options("/v1/segment", headers={"origin": "http://127.0.0.1"}).status_code == 405


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer é"]
)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/openapi.json", "/v1/images/" + 64 * "0"])
def test_without_the_token_nothing_is_told(shared_with: Any, path: str, given: str) -> None:
    answer = shared_with.get(path, headers=[(b"authorization", given.encode())] if given else [])
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="risctl"')
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_token_opens_and_the_page_needs_none(shared_with: Any) -> None:
    assert shared_with.get("/v1/models", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    for path in ("/", "/page.js", "/page.css", "/health"):
        assert shared_with.get(path).status_code == 200


def test_headers_let_browsers_load_nothing_from_elsewhere(own: Any) -> None:
    answers = [own.get(path) for path in ("/", "/nothing", "/page.js", "/health")]
    answers.append(own.get("/", headers={"host": "evil.example"}))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
