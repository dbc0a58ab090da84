"""One version of one file: what is resumed, what is begun anew, and what ends."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import http_server
from helpers.http_server import Answer, Handler, Site, serve, status

from risctl.data.download.mirrors import RetryPolicy, download
from risctl.errors import DataError, UsageError
from risctl.network.largest import largest_download

BODY = random.Random(1).randbytes(200_000)
OTHER = random.Random(2).randbytes(200_000)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http_server.running() as running:
        yield running


@pytest.fixture
def retries() -> RetryPolicy:
    return RetryPolicy(sleep=lambda _: None, timeout=1.0, window=0.3, min_rate=2000.0, max_seconds=1.0)


def rest_of(body: bytes, *, span: str = "", **headers: str) -> Answer:
    """Answer with the rest of `body` that was asked for, whatever If-Range says; `span` lies about which it is."""

    def answer(handler: Handler, _: int) -> None:
        start = int(str(handler.headers["Range"]).removeprefix("bytes=").rstrip("-"))
        told = span or f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.begin(206, length=len(body) - start, Content_Range=told, **headers)
        handler.wfile.write(body[start:])

    return answer


def broken_off_then(second: Answer, third: Answer, *, etag: str | None = '"1"', **headers: str) -> Answer:
    """Answer with half of `BODY`, and then as those say."""

    def answer(handler: Handler, earlier: int) -> None:
        if earlier == 0:
            if etag:
                headers["ETag"] = etag
            handler.begin(200, length=len(BODY), **headers)
            handler.wfile.write(BODY[:100_000])
            handler.drop()
        else:
            (second if earlier == 1 else third)(handler, earlier)

    return answer


@pytest.mark.parametrize("headers", [{"ETag": '"2"'}, {"ETag": 'W/"1"'}, {}])
def test_a_part_of_another_version_is_never_appended(
    site: Site, tmp_path: Path, retries: RetryPolicy, headers: dict[str, str]
) -> None:
    site.answers["/a"] = broken_off_then(rest_of(OTHER, **headers), serve(OTHER, etag='"2"'))
    assert download([site.url("/a")], tmp_path / "a", retries=retries).path.read_bytes() == OTHER
    assert [one[1] for one in site.requests] == [None, "bytes=100000-", None]


def test_a_part_is_appended_by_its_date_where_there_is_no_tag(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    old, new = "Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"
    site.answers["/same"] = broken_off_then(
        rest_of(BODY, Last_Modified=old), status(404), etag=None, **{"Last-Modified": old}
    )
    site.answers["/newer"] = broken_off_then(
        rest_of(OTHER, Last_Modified=new), serve(OTHER), etag=None, **{"Last-Modified": old}
    )
    assert download([site.url("/same")], tmp_path / "a", retries=retries).path.read_bytes() == BODY
    assert download([site.url("/newer")], tmp_path / "b", retries=retries).path.read_bytes() == OTHER
    assert site.requests[1][2] == old, "If-Range"


@pytest.mark.parametrize(
    "span",
    [
        "bytes 0-199999/200000",
        "bytes 100000-150000/200000",
        "bytes 100000-199999/*",
        "bytes 100000-199999/" + "9" * 5000,
        "bytes 100000-199999/250000",
        "bytes",
    ],
)
def test_a_part_that_is_not_the_rest_is_begun_anew(site: Site, tmp_path: Path, retries: RetryPolicy, span: str) -> None:
    site.answers["/a"] = broken_off_then(rest_of(OTHER, span=span, ETag='"1"'), serve(BODY, etag='"1"'))
    assert download([site.url("/a")], tmp_path / "a", retries=retries).path.read_bytes() == BODY


def test_half_a_file_is_not_whole_because_the_server_says_so_later(
    site: Site, tmp_path: Path, retries: RetryPolicy
) -> None:
    site.answers["/a"] = broken_off_then(status(416, Content_Range="bytes */100000"), serve(BODY))
    assert download([site.url("/a")], tmp_path / "a", retries=retries).path.read_bytes() == BODY


def test_a_file_that_always_changes_is_given_up(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    def answer(handler: Handler, earlier: int) -> None:
        if handler.headers.get("Range"):
            rest_of(OTHER, ETag=f'"{earlier}"')(handler, earlier)
        else:
            # Always a little more, so that each looks like progress.
            handler.begin(200, length=len(BODY), ETag=f'"{earlier}"')
            handler.wfile.write(BODY[: 50_000 + 5000 * earlier])
            handler.drop()

    site.answers["/a"] = answer
    with pytest.raises(DataError, match="another version"):
        download([site.url("/a")], tmp_path / "a", retries=retries)


def test_a_byte_at_a_time_ends(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    def dribble(handler: Handler, _: int) -> None:
        handler.begin(200, length=len(BODY), ETag='"1"')
        with pytest.raises(OSError):
            while True:
                handler.wfile.write(b"x")
                time.sleep(0.05)

    site.answers["/a"] = dribble
    began = time.monotonic()
    with pytest.raises(DataError, match=r"bytes a second; at least 2,000 were expected \(5 times\)"):
        download([site.url("/a")], tmp_path / "a", retries=retries)
    assert time.monotonic() - began < 10


def test_a_byte_at_each_request_is_no_progress(site: Site, tmp_path: Path) -> None:
    site.answers["/a"] = serve(BODY, drop_after=1)
    with pytest.raises(DataError, match=r"\(5 times\)"):
        download([site.url("/a")], tmp_path / "a", retries=RetryPolicy(sleep=lambda _: None))


def endless(handler: Handler, _: int) -> None:
    """Answer without a length and without an end."""
    handler.begin(200, length=None)
    try:
        while True:
            handler.wfile.write(BODY)
    except OSError:
        handler.drop()


def test_an_endless_body_is_bounded(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a"] = endless
    with pytest.raises(DataError, match="more than 3,000,000 bytes"):
        download([site.url("/a")], tmp_path / "a", check=lambda _: None, max_bytes=3_000_000, retries=retries)
    assert not list(tmp_path.glob("a*")), "nothing goes on from what is not the file"
    site.answers["/stated"] = serve(BODY)
    with pytest.raises(DataError, match="it offers 200,000 bytes; at most 100,000"):
        download([site.url("/stated")], tmp_path / "b", max_bytes=100_000, retries=retries)


def test_a_body_of_unknown_length_has_its_time(site: Site, tmp_path: Path) -> None:
    def slow(handler: Handler, _: int) -> None:
        handler.begin(200, length=None)
        try:
            while True:
                handler.wfile.write(BODY[:1000])
                time.sleep(0.02)
        except OSError:
            handler.drop()

    site.answers["/a"] = slow
    retries = RetryPolicy(attempts=2, sleep=lambda _: None, min_rate=10.0, window=0.2, max_seconds=0.6)
    with pytest.raises(DataError, match=r"not complete within 0\.6 seconds"):
        download([site.url("/a")], tmp_path / "a", check=lambda _: None, retries=retries)


def test_a_file_of_unknown_length_needs_something_to_tell_that_it_is_whole(
    site: Site, tmp_path: Path, retries: RetryPolicy
) -> None:
    def until_closed(handler: Handler, _: int) -> None:
        handler.begin(200, length=None, Connection="close")
        handler.wfile.write(BODY)
        handler.close_connection = True

    site.answers["/a"] = until_closed
    with pytest.raises(DataError, match="does not say how long"):
        download([site.url("/a")], tmp_path / "a", retries=retries)
    found = download([site.url("/a")], tmp_path / "a", check=lambda _: None, retries=retries)
    assert found.path.read_bytes() == BODY


@pytest.mark.parametrize("stated", ["9" * 5000, "-5", "5, 6", "ten", ""])
def test_an_impossible_length_is_refused(site: Site, tmp_path: Path, retries: RetryPolicy, stated: str) -> None:
    def answer(handler: Handler, _: int) -> None:
        handler.begin(200, length=None, Content_Length=stated)
        handler.wfile.write(BODY)
        handler.drop()

    site.answers["/a"] = answer
    with pytest.raises(DataError, match="impossible length"):
        download([site.url("/a")], tmp_path / "a", retries=retries)


def test_a_shorter_length_than_the_body_is_seen(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    def answer(handler: Handler, _: int) -> None:
        handler.begin(200, length=len(BODY) - 5000)
        handler.wfile.write(BODY)
        handler.drop()

    site.answers["/a"] = answer
    with pytest.raises(DataError, match="more than the 195,000 bytes that it stated"):
        download([site.url("/a")], tmp_path / "a", retries=retries)


def test_an_encoding_nobody_asked_for_is_refused(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a"] = lambda handler, _: handler.begin(200, length=0, Content_Encoding="gzip")
    with pytest.raises(DataError, match=r"encoded \(gzip\)"):
        download([site.url("/a")], tmp_path / "a", retries=retries)


@pytest.mark.parametrize("name", ["a", "a.part", "a.part.json", ".a.lock", "a.json"])
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_nothing_is_written_through_a_link(
    site: Site, tmp_path: Path, retries: RetryPolicy, name: str, kind: str
) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "downloads"
    folder.mkdir()
    if kind == "pipe":
        os.mkfifo(folder / name)
    elif kind == "folder":
        (folder / name).mkdir()
    else:
        if kind == "link":
            victim.write_bytes(b"mine")
        (folder / name).symlink_to(victim)
    site.answers["/a"] = serve(BODY)
    with pytest.raises(DataError, match="symbolic link" if "k" in kind or kind == "dangling" else "no regular file"):
        download([site.url("/a")], folder / "a", retries=retries)
    assert victim.exists() == (kind == "link") and (kind != "link" or victim.read_bytes() == b"mine")


def test_a_damaged_state_is_no_state(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a"] = serve(BODY)
    for index, state in enumerate(
        [
            [1],
            {"url": site.url("/a"), "validator": ["x"], "total": "5"},
            {"url": site.url("/a"), "validator": "a\nb: c"},
        ]
    ):
        (tmp_path / f"{index}.part").write_bytes(OTHER[:100])
        (tmp_path / f"{index}.part.json").write_text(json.dumps(state))
        try:
            assert download([site.url("/a")], tmp_path / str(index), retries=retries).path.read_bytes() == BODY
        except DataError as error:
            assert "\n" not in str(error)


def test_a_folder_that_cannot_be_written_is_one_error(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        download([site.url("/a")], tmp_path / "file" / "a", retries=retries)


def test_the_largest_download_is_configurable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert largest_download() == 50 * 10**9
    monkeypatch.setenv("RISCTL_MAX_DOWNLOAD_GB", "0.5")
    assert largest_download() == 500_000_000
    for wrong in ("0", "-1", "many", "9" * 5000, "nan"):
        monkeypatch.setenv("RISCTL_MAX_DOWNLOAD_GB", wrong)
        with pytest.raises(UsageError, match="gigabytes"):
            largest_download()


def test_two_downloads_wait_for_no_removed_lock(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a"] = serve(BODY)
    errors: list[Exception] = []

    def one() -> None:
        try:
            assert download([site.url("/a")], tmp_path / "a", retries=retries).path.read_bytes() == BODY
        except DataError as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (tmp_path / "a").read_bytes() == BODY
    assert all("by another process" in str(error) for error in errors)
