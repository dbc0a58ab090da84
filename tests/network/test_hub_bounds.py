"""The hub within bounds: the library that speaks to it has none."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from helpers.http_server import Handler, running

from risctl.network.hub import HubBoundError, HubSession, _Progress, within_bounds


def test_what_the_work_makes_or_raises_comes_back() -> None:
    assert within_bounds(lambda _: 5) == 5
    with pytest.raises(KeyError):
        within_bounds(lambda _: {}["absent"])


def test_a_hub_that_brings_nothing_is_given_up() -> None:
    over = threading.Event()
    began = time.monotonic()
    with pytest.raises(HubBoundError, match=r"nothing within 0\.2 seconds"):
        within_bounds(lambda _: over.wait(20), patience=0.2)
    over.set()
    assert time.monotonic() - began < 5


def test_a_hub_that_sends_too_much_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    def endless(repository: str, name: str, *, tqdm_class: type) -> str:
        nonlocal written
        with tqdm_class(disable=True) as bar:
            while written < 10**9:
                bar.update(1000)
                written += 1000
        return name

    monkeypatch.setattr("huggingface_hub.hf_hub_download", endless)
    with pytest.raises(HubBoundError, match="more than 5,000 bytes"):
        within_bounds(lambda hub: hub.file("owner/name", "a"), max_bytes=5000)
    assert written == 5000


def test_a_download_that_was_given_up_stops() -> None:
    progress = _Progress(10**9)
    HubSession(progress)
    progress.advance(10)
    progress.given_up = True
    with pytest.raises(HubBoundError, match="given up"):
        progress.advance(10)


@pytest.mark.parametrize("endless", ["a list", "pages", "an error"])
def test_answers_that_are_no_files_are_bounded(endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    def answer(handler: Handler, earlier: int) -> None:
        nonlocal sent
        if endless == "pages":
            entries = b"[" + b",".join([b'{"type": "file", "path": "a", "size": 1, "oid": "b"}'] * 2000) + b"]"
            sent += len(entries)
            handler.begin(200, length=len(entries), Link=f'<{site.url(handler.path)}>; rel="next"')
            handler.wfile.write(entries)
            return
        handler.begin(200 if endless == "a list" else 404, length=None)
        with contextlib.suppress(OSError):
            handler.wfile.write(b"[")
            while sent < 10**9:
                handler.wfile.write(b" " * 2**16)
                sent += 2**16

    with running() as site:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", site.address)
        path = "/api/datasets/owner/name/tree/main?recursive=true&expand=false"
        site.answers |= {path: answer, path.replace("true&expand=false", "True&expand=False"): answer}
        with pytest.raises(HubBoundError, match="answers beside files have more than 1,000,000 bytes"):
            within_bounds(lambda hub: hub.dataset_files("owner/name"), max_answers=10**6)
        assert set(site.answers) & {request[0] for request in site.requests}
        ended = next((thread for thread in threading.enumerate() if thread.name == "hub"), None)
        if ended is not None:  # it does not go on unseen
            ended.join(60)
            assert not ended.is_alive()
    assert sent < 10**9
