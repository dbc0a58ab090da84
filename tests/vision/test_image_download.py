"""Images by URL: whole, bounded, and from http or https only."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from helpers import http_server
from helpers.http_server import Handler, Site, serve, status
from PIL import Image

from risctl.errors import DataError
from risctl.vision.image_download import fetch
from risctl.vision.image_inputs import read_input


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http_server.running() as running:
        yield running


def get(url: str, *, max_bytes: int = 100_000, max_seconds: float = 5.0) -> bytes:
    return fetch(url, max_bytes=max_bytes, timeout=1.0, max_seconds=max_seconds)


def test_an_image_comes_by_url(site: Site) -> None:
    file = io.BytesIO()
    Image.new("RGB", (7, 5), "red").save(file, "PNG")
    site.answers["/old"] = status(302, Location="/a.png")
    site.answers["/a.png"] = serve(file.getvalue())
    assert np.array_equal(read_input(site.url("/old")), np.full((5, 7, 3), (255, 0, 0)))


def test_a_truncated_image_is_never_taken_for_whole(site: Site) -> None:
    site.answers["/a"] = serve(b"x" * 5000, drop_after=3000)
    with pytest.raises(DataError, match=r"ended after 3,000 of 5,000 bytes; download it first"):
        get(site.url("/a"))


def test_size_and_time_are_bounded(site: Site) -> None:
    def endless(handler: Handler, _: int) -> None:
        handler.begin(200, length=None)
        try:
            while True:
                handler.wfile.write(bytes(10_000))
        except OSError:
            handler.drop()

    site.answers["/endless"] = endless
    site.answers["/large"] = serve(bytes(200_000))
    with pytest.raises(DataError, match="more than 100,000 bytes"):
        get(site.url("/endless"))
    with pytest.raises(DataError, match="has 200,000 bytes"):
        get(site.url("/large"))
    with pytest.raises(DataError, match=r"not complete within 0\.2 seconds"):
        get(site.url("/endless"), max_bytes=10**12, max_seconds=0.2)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_no_other_scheme(site: Site, location: str) -> None:
    site.answers["/a"] = status(302, Location=location)
    for url in (site.url("/a"), location):
        with pytest.raises(DataError, match="http or https"):
            get(url)
    with pytest.raises(DataError, match="the server answers 404"):
        get(site.url("/absent"))
