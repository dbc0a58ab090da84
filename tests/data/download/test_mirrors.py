"""Downloads from a server that does everything wrong, on this machine."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import http_server
from helpers.full_disk import files_of_at_most
from helpers.http_server import Handler, Site, serve, status

from risctl.data.datasets.registry import DATASETS
from risctl.data.download.mirrors import RetryPolicy, download, record_of
from risctl.errors import DataError, MachineError

BODY = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http_server.running() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def retries(waits: list[float]) -> RetryPolicy:
    return RetryPolicy(sleep=waits.append, timeout=2.0)


def test_a_file_comes_whole_and_what_was_seen_is_recorded(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a.zip"] = serve(BODY)
    steps: list[tuple[int, int | None]] = []
    found = download(
        [site.url("/a.zip")], tmp_path / "a.zip", retries=retries, progress=lambda *step: steps.append(step)
    )
    assert found.path.read_bytes() == BODY
    assert (found.size, found.sha256) == (len(BODY), SHA256)
    assert steps[-1] == (len(BODY), len(BODY)) and steps == sorted(steps)
    record = json.loads(record_of(found.path).read_text())
    assert record["url"] == site.url("/a.zip") and record["sha256"] == SHA256 and record["size"] == len(BODY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "a.zip.json"]


def test_what_is_there_is_not_fetched_again_but_checked(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a.zip"] = serve(BODY)
    for _ in range(2):
        download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries)
    assert site.count("/a.zip") == 1
    (tmp_path / "a.zip").write_bytes(BODY[:-1])
    with pytest.raises(DataError, match="not the file that was downloaded"):
        download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries)


def test_dropped_connections_are_resumed_where_they_broke(
    site: Site, tmp_path: Path, retries: RetryPolicy, waits: list[float]
) -> None:
    site.answers["/a.zip"] = serve(BODY, drop_after=50_000)
    found = download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries)
    assert found.path.read_bytes() == BODY
    assert [request[1] for request in site.requests] == [
        None,
        *(f"bytes={done}-" for done in range(50_000, 300_000, 50_000)),
    ]
    assert waits == [1.0] * 5, "each break came after new bytes, so patience does not wear out"


def test_a_later_run_resumes_what_an_earlier_one_left(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a.zip"] = serve(BODY, drop_after=100_000, drops=1)
    impatient = RetryPolicy(attempts=1, sleep=retries.sleep)
    with pytest.raises(DataError, match=r"ended after 100,000 of 300,000 bytes"):
        download([site.url("/a.zip")], tmp_path / "a.zip", retries=impatient)
    assert not (tmp_path / "a.zip").exists()
    assert (tmp_path / "a.zip.part").stat().st_size == 100_000
    download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries)
    assert site.requests[1][1] == "bytes=100000-" and site.requests[1][2], "If-Range guards against another file"
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_server_that_ignores_range_is_read_from_the_start(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a.zip"] = serve(BODY, ranges=False, drop_after=100_000, drops=2)
    found = download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries)
    assert found.path.read_bytes() == BODY
    assert site.count("/a.zip") == 3


def test_a_server_that_ignores_range_and_always_drops_is_given_up(
    site: Site, tmp_path: Path, retries: RetryPolicy, waits: list[float]
) -> None:
    site.answers["/a.zip"] = serve(BODY, ranges=False, drop_after=100_000)
    with pytest.raises(DataError, match=r"100,000 of 300,000 bytes \(5 times\)"):
        download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries)
    assert waits == [1.0, 2.0, 4.0, 8.0][: len(waits)] and len(waits) == site.count("/a.zip") - 1


def test_a_file_that_changes_in_between_is_begun_anew(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    other = BODY[::-1]

    def answer(handler: Handler, earlier: int) -> None:
        serve(BODY if earlier == 0 else other, drop_after=100_000, drops=1)(handler, earlier)

    site.answers["/a.zip"] = answer
    found = download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries)
    assert found.path.read_bytes() == other


def test_a_changed_file_of_a_server_that_heeds_no_if_range_is_begun_anew(
    site: Site, tmp_path: Path, retries: RetryPolicy
) -> None:
    longer = BODY + b"more"

    def answer(handler: Handler, earlier: int) -> None:
        if earlier == 0:
            serve(BODY, drop_after=100_000)(handler, earlier)
        elif handler.headers.get("Range"):
            # The rest of a file of another length, whatever If-Range says.
            start = int(str(handler.headers["Range"]).removeprefix("bytes=").rstrip("-"))
            span = f"bytes {start}-{len(longer) - 1}/{len(longer)}"
            handler.begin(206, length=len(longer) - start, Content_Range=span)
            handler.wfile.write(longer[start:])
        else:
            serve(longer)(handler, earlier)

    site.answers["/a.zip"] = answer
    assert download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries).path.read_bytes() == longer


def test_without_a_validator_nothing_is_resumed_unless_the_sha256_is_known(
    site: Site, tmp_path: Path, retries: RetryPolicy
) -> None:
    site.answers["/a.zip"] = serve(BODY, etag="", drop_after=100_000, drops=1)
    site.answers["/b.zip"] = serve(BODY, etag="", drop_after=100_000, drops=1)
    download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries)
    assert [request[1] for request in site.requests] == [None, None]
    download([site.url("/b.zip")], tmp_path / "b.zip", sha256=SHA256, retries=retries)
    assert [request[1] for request in site.requests[2:]] == [None, "bytes=100000-"]


def test_a_weak_tag_is_no_validator(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a.zip"] = serve(BODY, etag='W/"1"', drop_after=100_000, drops=1)
    assert download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries).path.read_bytes() == BODY
    assert [request[1] for request in site.requests] == [None, None]


def test_mirrors_are_tried_in_order(site: Site, tmp_path: Path, retries: RetryPolicy, waits: list[float]) -> None:
    site.answers["/gone"] = status(410)
    site.answers["/forbidden"] = status(403)
    site.answers["/short"] = serve(BODY[:1000])
    site.answers["/good"] = serve(BODY)
    paths = ("/absent", "/gone", "/forbidden", "/short", "/good", "/never")
    mirrors = [site.url(path) for path in paths]
    found = download(mirrors, tmp_path / "a.zip", size=len(BODY), retries=retries)
    assert found.url == site.url("/good")
    assert [request[0] for request in site.requests] == list(paths[:-1])
    assert waits == []


def test_when_all_mirrors_fail_each_answer_is_told(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/b"] = status(503)
    with pytest.raises(DataError, match=r"/a: HTTP 404.*/b: HTTP 503.*\(5 times\).*--from"):
        download([site.url("/a"), site.url("/b")], tmp_path / "a.zip", retries=retries)


def test_busy_servers_are_asked_again_as_they_say(
    site: Site, tmp_path: Path, retries: RetryPolicy, waits: list[float]
) -> None:
    site.answers["/a"] = status(503, times=1, Retry_After="7", then=status(429, times=2, then=serve(BODY)))
    site.answers["/b"] = status(503, times=1, Retry_After="86400", then=serve(BODY))
    download([site.url("/a")], tmp_path / "a.zip", retries=retries)
    assert waits == [7.0, 2.0, 4.0]
    download([site.url("/b")], tmp_path / "b.zip", retries=retries)
    assert waits[3:] == [60.0], "no server makes us wait a day"


@pytest.mark.parametrize("told", [len(BODY) + 5000, len(BODY) - 5000])
def test_a_lie_about_the_length_is_found_by_the_known_size(
    site: Site, tmp_path: Path, retries: RetryPolicy, told: int
) -> None:
    site.answers["/liar"] = serve(BODY, length=told)
    site.answers["/good"] = serve(BODY)
    mirrors = [site.url("/liar"), site.url("/good")]
    assert download(mirrors, tmp_path / "a.zip", size=len(BODY), retries=retries).url == mirrors[1]
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_more_told_than_there_is_is_never_taken_for_whole(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/liar"] = serve(BODY, length=len(BODY) + 5000)
    with pytest.raises(DataError, match=r"300,000 of 305,000 bytes"):
        download([site.url("/liar")], tmp_path / "a.zip", retries=retries)
    assert not (tmp_path / "a.zip").exists()


def test_a_body_without_a_length_is_bounded_by_the_known_size(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    def endless(handler: Handler, earlier: int) -> None:
        handler.begin(200, length=None, Connection="close")
        try:
            for _ in range(100):
                handler.wfile.write(BODY)
        except OSError:
            pass
        handler.drop()

    site.answers["/endless"] = endless
    with pytest.raises(DataError, match="more than the 300,000 bytes expected"):
        download([site.url("/endless")], tmp_path / "a.zip", size=len(BODY), retries=retries)


def test_another_content_is_refused_by_its_sha256_and_removed(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/other"] = serve(BODY[::-1])
    site.answers["/good"] = serve(BODY)
    with pytest.raises(DataError, match=f"expected {SHA256}"):
        download([site.url("/other")], tmp_path / "a.zip", sha256=SHA256, retries=retries)
    assert not list(tmp_path.glob("a.zip*"))
    found = download([site.url("/other"), site.url("/good")], tmp_path / "a.zip", sha256=SHA256, retries=retries)
    assert found.path.read_bytes() == BODY


def test_a_page_instead_of_the_file_is_refused_by_the_check(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/page"] = serve(b"<html>sign in</html>")
    site.answers["/good"] = serve(BODY)

    def check(path: Path) -> None:
        if path.read_bytes().startswith(b"<html"):
            raise DataError("it is a page")

    found = download([site.url("/page"), site.url("/good")], tmp_path / "a", check=check, retries=retries)
    assert found.url == site.url("/good")


def test_a_part_that_is_whole_already_is_taken(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a.zip"] = serve(BODY)
    download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries)
    # As if killed between the last byte and the rename.
    shutil.move(tmp_path / "a.zip", tmp_path / "a.zip.part")
    record = json.loads(record_of(tmp_path / "a.zip").read_text())
    state = {"url": record["url"], "validator": record["validator"], "total": len(BODY)}
    (tmp_path / "a.zip.part.json").write_text(json.dumps(state))
    assert download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries).path.read_bytes() == BODY
    assert site.requests[-1][1] == f"bytes={len(BODY)}-"


def test_a_part_longer_than_the_file_is_begun_anew(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/a.zip"] = serve(BODY, etag='"1"')
    (tmp_path / "a.zip.part").write_bytes(BODY + b"x")
    state = {"url": site.url("/a.zip"), "validator": '"1"', "total": len(BODY) + 1}
    (tmp_path / "a.zip.part.json").write_text(json.dumps(state))
    assert download([site.url("/a.zip")], tmp_path / "a.zip", retries=retries).path.read_bytes() == BODY


def test_a_silent_server_and_a_refused_connection_are_given_up(
    tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    retries = RetryPolicy(attempts=2, timeout=0.2, sleep=waits.append)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            closed_url = f"http://127.0.0.1:{closed.getsockname()[1]}/a"
        with pytest.raises(DataError, match=r"timed out \(2 times\).*refused \(2 times\)"):
            download([silent_url, closed_url], tmp_path / "a", retries=retries)


def test_redirects_are_followed_and_no_other_scheme(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    site.answers["/old"] = status(302, Location=site.url("/new"))
    site.answers["/new"] = serve(BODY, drop_after=100_000)
    site.answers["/away"] = status(302, Location="file:///etc/passwd")
    assert download([site.url("/old")], tmp_path / "a", retries=retries).path.read_bytes() == BODY
    with pytest.raises(DataError):
        download([site.url("/away")], tmp_path / "b", retries=retries)
    with pytest.raises(DataError, match="not an http address"):
        download(["file:///etc/passwd"], tmp_path / "b", retries=retries)


def test_a_disk_that_is_too_small_is_said_before_the_body(
    site: Site, tmp_path: Path, retries: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answers["/a"] = serve(BODY)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(MachineError, match="GB free"):
        download([site.url("/a")], tmp_path / "a", retries=retries)


def test_a_disk_that_fills_up_is_said_and_the_download_goes_on_later(
    site: Site, tmp_path: Path, retries: RetryPolicy
) -> None:
    site.answers["/a"] = serve(BODY)
    with files_of_at_most(100_000), pytest.raises(MachineError, match="no space left to write"):
        download([site.url("/a")], tmp_path / "a", retries=retries)
    assert (tmp_path / "a.part").read_bytes() == BODY[:100_000]
    assert download([site.url("/a")], tmp_path / "a", retries=retries).path.read_bytes() == BODY
    assert site.requests[-1][1] == "bytes=100000-"


def test_two_downloads_of_one_file_do_not_mix(site: Site, tmp_path: Path, retries: RetryPolicy) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(handler: Handler, earlier: int) -> None:
        begun.set()
        go_on.wait(10)
        serve(BODY)(handler, earlier)

    site.answers["/a"] = slow
    first = threading.Thread(target=lambda: download([site.url("/a")], tmp_path / "a"))
    first.start()
    assert begun.wait(10)
    with pytest.raises(DataError, match="by another process"):
        download([site.url("/a")], tmp_path / "a", retries=retries)
    go_on.set()
    first.join(10)
    assert (tmp_path / "a").read_bytes() == BODY
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.json"]


def test_every_source_names_its_mirrors() -> None:
    for source in [one for each in DATASETS.values() for one in (*each.sources, *(each.images or each).sources)]:
        by_key = [url for url in source.mirrors if "drive.usercontent.google.com/download?id=" in url]
        assert source.mirrors and all(url.endswith(source.file_name) or url in by_key for url in source.mirrors)
        assert source.about >= 10**6
    assert DATASETS["refcoco+"].sources[0].mirrors[0] == (
        "https://web.archive.org/web/20220413011656id_/https://bvisionweb1.cs.unc.edu/licheng/referit/data/refcoco+.zip"
    )
