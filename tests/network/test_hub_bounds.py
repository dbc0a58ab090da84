"""The hub within bounds: the library that speaks to it has none."""

from __future__ import annotations

import threading
import time

import pytest

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
