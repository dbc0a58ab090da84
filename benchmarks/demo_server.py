"""Measures `risctl demo`: many requests in a row, then several clients at once; memory, median and 99th percentile.

    python benchmarks/demo_server.py --requests 2000 --clients 16

Starts the server, sends it pictures of made scenes with one phrase each over kept connections, and prints one line of
JSON. Every picture is a new one, so that each is read and encoded: memory grows if anything is kept that should not be.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

BOUNDARY = "risctl-benchmark"
WARMING = 100
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "coffee.jpg"


def pictures(number: int) -> bytes:
    """Return a picture that differs from those of other numbers in one pixel."""
    pixels = np.asarray(Image.open(PICTURE).convert("RGB")).copy()
    pixels[0, 0] = number % 256, number // 256 % 256, number // 65536
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def body(image: bytes, phrase: str) -> bytes:
    """Return a form with an image and a phrase."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="phrases"\r\n\r\n{phrase}\r\n--{BOUNDARY}\r\n'
    head += 'Content-Disposition: form-data; name="image"; filename="image.png"\r\n\r\n'
    return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


class Client:
    """One connection that is kept."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=300)

    def ask(self, number: int) -> tuple[int, float]:
        """Send a request; return its status and how many seconds it took."""
        sent, start = body(pictures(number), "the cup"), time.perf_counter()
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        self._connection.request("POST", "/v1/segment", body=sent, headers=kind)
        answer = self._connection.getresponse()
        content, seconds = answer.read(), time.perf_counter() - start
        if answer.status == 200 and not json.loads(content)["results"][0]["area"]:
            raise AssertionError("an answer without a mask")
        return answer.status, seconds

    def memory(self) -> int:
        """Return the bytes that the server's process holds."""
        self._connection.request("GET", "/metrics")
        text = self._connection.getresponse().read().decode()
        [found] = re.findall(r"^process_resident_memory_bytes (\d+)$", text, flags=re.MULTILINE)
        return int(found)


def measured(address: str, *, requests: int, clients: int) -> dict[str, object]:
    """Return the figures of a server."""
    first = Client(address)
    statuses: list[int] = []
    alone: list[float] = []
    for number in range(WARMING):
        statuses.append(first.ask(number)[0])
    before = first.memory()
    for number in range(WARMING, WARMING + requests):
        status, seconds = first.ask(number)
        statuses.append(status)
        alone.append(seconds)
    after = first.memory()
    together: list[float] = []
    lock = threading.Lock()

    def work(index: int) -> None:
        client = Client(address)
        for step in range(max(1, requests // clients // 4)):
            status, seconds = client.ask(1_000_000 + 10_000 * index + step)
            with lock:
                statuses.append(status)
                together.append(seconds)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - start
    expected = WARMING + requests + clients * max(1, requests // clients // 4)
    return {
        "requests": expected,
        "lost": expected - statuses.count(200),
        "alone_ms": {"p50": _percentile(alone, 50), "p99": _percentile(alone, 99)},
        "clients": clients,
        "together_ms": {"p50": _percentile(together, 50), "p99": _percentile(together, 99)},
        "together_per_second": round(len(together) / wall, 1),
        "memory_mb": {"before": round(before / 1e6, 1), "after": round(after / 1e6, 1)},
    }


def _percentile(seconds: list[float], percent: int) -> float:
    if len(seconds) < 2:
        return round(1000 * seconds[0], 1)
    return round(1000 * statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1], 1)


def main() -> None:
    """Start the server, measure it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--model", default="mini")
    chosen = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-m", "risctl", "demo", "--port", "0", "--model", chosen.model],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        if not address:
            raise SystemExit("the server did not start")
        print(json.dumps(measured(address, requests=chosen.requests, clients=chosen.clients)))
    finally:
        server.terminate()
        server.wait(timeout=60)


if __name__ == "__main__":
    main()
