"""Measures `risctl demo`: many requests in a row, then several clients at once; memory, median and 99th percentile.

    python benchmarks/demo_server.py --requests 2000 --images 50 --clients 16

Starts the server and asks it one phrase a request over kept connections. Of 2,000 requests, 50 send a picture that the
server has not seen; 40 in a row ask about each, with ten phrases by turns, two of which name nothing there. Of those
40, every fourth sends the picture's bytes again, as a program does that keeps no digest, and the others name it by its
digest, as the page does. Then `--clients` clients together send a quarter as many requests, each about pictures of its
own, of which every eighth request sends a new one. `--images` as many as `--requests` makes every picture a new one.

Prints one line of JSON. Pictures are made before anything is measured. Memory is read after as many pictures as the
server keeps, after the requests in a row, and at the end: it grows if anything is kept that should not be.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

BOUNDARY = "risctl-benchmark"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
WARMING = 40
TOGETHER = 8
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "coffee.jpg"
PHRASES = (
    *("the cup", "the spoon", "the plate", "the table", "a giraffe", "cup on the left", "the saucer"),
    *("the thing in the middle", "an airplane", "the coffee"),
)


class Pictures:
    """Pictures that differ from each other in one pixel."""

    def __init__(self) -> None:
        self._pixels = np.asarray(Image.open(PICTURE).convert("RGB")).copy()

    def __call__(self, number: int) -> bytes:
        """Return the picture of a number."""
        self._pixels[0, 0] = number % 256, number // 256 % 256, number // 65536
        file = io.BytesIO()
        Image.fromarray(self._pixels).save(file, "PNG", compress_level=1)
        return file.getvalue()


def form(image: bytes, phrase: str) -> bytes:
    """Return a form with an image and a phrase."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="phrases"\r\n\r\n{phrase}\r\n--{BOUNDARY}\r\n'
    head += 'Content-Disposition: form-data; name="image"; filename="image.png"\r\n\r\n'
    return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


class Client:
    """One connection that is kept.

    Attributes:
        statuses: Those of all its answers.
        first: Seconds of the requests that sent a new picture.
        again: Seconds of those about a picture that the server had seen.
    """

    def __init__(self, address: str) -> None:
        self.statuses: list[int] = []
        self.first: list[float] = []
        self.again: list[float] = []
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=300)

    def ask_about(self, picture: bytes, times: int) -> None:
        """Ask about a new picture so many times."""
        digest = None
        for time_ in range(times):
            phrase = PHRASES[len(self.statuses) % len(PHRASES)]
            if digest is None or time_ % 4 == 0:
                body, kind = form(picture, phrase), FORM
            else:
                body, kind = json.dumps({"digest": digest, "phrases": [phrase]}).encode(), "application/json"
            start = time.perf_counter()
            self._connection.request("POST", "/v1/segment", body=body, headers={"Content-Type": kind})
            answer = self._connection.getresponse()
            content, seconds = answer.read(), time.perf_counter() - start
            self.statuses.append(answer.status)
            (self.again if time_ else self.first).append(seconds)
            if answer.status == 200:
                found = json.loads(content)
                digest = found["digest"]
                if phrase == "the cup" and not found["results"][0]["area"]:
                    raise AssertionError("an answer without a mask")

    def figures(self) -> dict[str, int]:
        """Return the server's counters by their names."""
        self._connection.request("GET", "/metrics")
        text = self._connection.getresponse().read().decode()
        return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", text, flags=re.MULTILINE)}


def measured(address: str, process: int, *, requests: int, images: int, clients: int) -> dict[str, object]:
    """Return the figures of a server that is the process of this number."""
    make, asked = Pictures(), Client(address)
    for number in range(WARMING):
        asked.ask_about(make(number), 1)
    warmed = asked.figures()
    warming = asked.statuses

    alone = Client(address)
    spent = 0.0
    begun = time.perf_counter()
    for index, times in enumerate(_shares(requests, images)):
        picture = make(WARMING + index)
        before = _cpu_seconds(process)
        alone.ask_about(picture, times)
        spent += _cpu_seconds(process) - before
        if index % 10 == 9:
            print(f"{len(alone.statuses)} requests in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    after = alone.figures()

    each = max(1, requests // clients // 4)
    own = [list(map(make, _numbers(WARMING + images, client, each))) for client in range(clients)]
    together = [Client(address) for _ in range(clients)]

    def work(client: Client, pictures: Sequence[bytes]) -> None:
        left = each
        for picture in pictures:
            client.ask_about(picture, min(TOGETHER, left))
            left -= TOGETHER

    threads = [threading.Thread(target=work, args=pair) for pair in zip(together, own, strict=True)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - start
    end = Client(address).figures()  # the others' connections may have been closed meanwhile
    statuses = [*warming, *alone.statuses, *(status for client in together for status in client.statuses)]
    expected = WARMING + requests + clients * each
    return {
        "requests": expected,
        "lost": expected - statuses.count(200),
        "images": WARMING + images + sum(map(len, own)),
        "encoded": end["risctl_encoded_images_total"],
        "alone": {
            "requests": requests,
            "new": images,
            "first_ms": _milliseconds(alone.first),
            "again_ms": _milliseconds(alone.again),
            "all_ms": _milliseconds(alone.first + alone.again),
            "server_cpu_ms": round(1000 * spent / requests, 1),
        },
        "together": {
            "clients": clients,
            "requests": clients * each,
            "new": sum(map(len, own)),
            "all_ms": _milliseconds([one for client in together for one in client.first + client.again]),
            "per_second": round(clients * each / wall, 1),
        },
        "memory_mb": {
            name: round(figures["process_resident_memory_bytes"] / 1e6, 1)
            for name, figures in (("warm", warmed), ("after", after), ("end", end))
        },
    }


def _shares(requests: int, images: int) -> Iterator[int]:
    """Yield how many requests are about each image."""
    for index in range(images):
        yield requests * (index + 1) // images - requests * index // images


def _numbers(start: int, client: int, each: int) -> range:
    """Return the numbers of one client's pictures."""
    count = -(-each // TOGETHER)
    return range(start + client * count, start + (client + 1) * count)


def _cpu_seconds(process: int) -> float:
    """Return the seconds of processors that a process used; 0 where /proc does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median and the 99th percentile."""
    if len(seconds) < 2:
        return {f"p{percent}": round(1000 * sum(seconds), 1) for percent in (50, 99)}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"p{percent}": round(1000 * cuts[percent - 1], 1) for percent in (50, 99)}


def main() -> None:
    """Start the server, measure it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--model", default="mini")
    chosen = parser.parse_args()
    if not 1 <= chosen.images <= chosen.requests or chosen.clients < 1:
        parser.error("expected 1 image or more, as many requests at least, and a client")
    server = subprocess.Popen(
        [sys.executable, "-m", "risctl", "demo", "--quiet", "--port", "0", "--model", chosen.model],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        if not address:
            raise SystemExit("the server did not start")
        counts = {"requests": chosen.requests, "images": chosen.images, "clients": chosen.clients}
        print(json.dumps(measured(address, server.pid, **counts)))
    finally:
        server.terminate()
        server.wait(timeout=60)


if __name__ == "__main__":
    main()
