"""Work on many images: order, errors of single ones, batches, threads and processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from helpers.colour_finder import Plain

from risctl.core.encoders.base import VisualFeatures
from risctl.errors import DataError, WorkerKilledError
from risctl.inference.batch_size import BatchSize
from risctl.inference.encoded_image import encode, encode_together, prepare
from risctl.inference.image_stream import stream
from risctl.inference.process_pool import can_fork, in_processes, process_count

forked = pytest.mark.skipif(not can_fork(), reason="processes are forked on Linux alone")


class Doubling:
    """Doubles numbers; every seventh cannot be read, a batch with 5 in it does not fit unless it is alone."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.ahead = self.most = 0
        self._lock = threading.Lock()

    def read(self, item: int) -> int:
        with self._lock:
            self.ahead += 1
            self.most = max(self.most, self.ahead)
        if item % 7 == 6:
            raise DataError(f"{item} is damaged")
        return item

    def encode(self, read: Sequence[int]) -> list[int]:
        if 5 in read and len(read) > 1:
            raise RuntimeError("CUDA out of memory")
        self.batches.append(len(read))
        return [2 * one for one in read]

    def finish(self, item: int, read: int, encoded: int) -> tuple[int, int]:
        with self._lock:
            self.ahead -= 1
        if item == 10:
            raise MemoryError
        return item, encoded


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"threads": 0},
        {"batch": 4, "threads": 3, "finishers": 2},
        {"batch": "auto"},
        pytest.param({"processes": 3}, marks=forked),
        pytest.param({"processes": 2, "batch": 4, "threads": 4}, marks=forked),
    ],
)
def test_outcomes_come_in_order_and_errors_are_of_their_image(how: dict[str, int]) -> None:
    outcomes = list(stream(Doubling(), iter(range(40)), **how))
    assert [one.item for one in outcomes] == list(range(40))
    for number, one in enumerate(outcomes):
        if number % 7 == 6:
            assert one.unread and isinstance(one.error, DataError)
        elif number == 10:
            assert not one.unread and isinstance(one.error, MemoryError)
        else:
            assert one.value() == (number, 2 * number)


def test_images_are_read_only_so_far_ahead() -> None:
    work = Doubling()
    for number, _ in enumerate(stream(work, iter(range(200)), batch=2, threads=3, finishers=2)):
        assert number < 200
    assert work.most <= 2 * 2 + 4 + 3 + 29  # batches ahead, answers being finished, and the 29 that failed
    assert set(work.batches) <= {1, 2} and 2 in work.batches


class Broken(Doubling):
    def finish(self, item: int, read: int, encoded: int) -> tuple[int, int]:
        if item == 9:
            raise ZeroDivisionError("a mistake")
        return item, encoded


class Killed(Doubling):
    def finish(self, item: int, read: int, encoded: int) -> tuple[int, int]:
        if item == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return item, encoded


@forked
def test_mistakes_and_kills_of_a_process_are_told() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a mistake"):
        list(in_processes(Broken(), range(30), processes=2, batch=1))
    with pytest.raises(WorkerKilledError, match=r"has ended \(code -9\).*fewer with --workers"):
        list(in_processes(Killed(), range(30), processes=2, batch=1))


@forked
def test_how_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_count(3, images=100, forks=True) == 3
    assert process_count(3, images=2, forks=True) == 2
    assert process_count(3, images=100, forks=False) == 1
    assert process_count(None, images=100, forks=True) == 1  # the tests set OMP_NUM_THREADS
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("risctl.inference.process_pool.free_cores", lambda: 5.6)
    assert process_count(None, images=1000, forks=True) == 6
    assert process_count(None, images=8, forks=True) == 2
    monkeypatch.setattr("risctl.inference.process_pool._free_memory", lambda: 900_000_000)
    assert process_count(None, images=1000, forks=True) == 2


def test_a_batch_halves_where_memory_does_not_suffice() -> None:
    size = BatchSize(8)
    size.observe(8)
    assert size.current == 8
    size.lower()
    assert size.current == 4
    auto = BatchSize("auto")
    auto.observe(1)
    assert auto.current == 1  # without a GPU


class Averaging(torch.nn.Module):
    """As far as `encode_together` needs a system: features of images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocess = Plain()
        self.sizes: list[int] = []

    def encode_image(self, images: torch.Tensor, padding: torch.Tensor) -> VisualFeatures:
        self.sizes.append(len(images))
        return VisualFeatures(maps=(images - images.mean((2, 3), keepdim=True),), strides=(1,), padding=padding)


def test_images_of_one_size_are_encoded_together() -> None:
    generator = np.random.default_rng(0)
    system = Averaging()
    images = [prepare(system.preprocess, generator.integers(0, 255, (s, 32, 3), dtype=np.uint8)) for s in (32, 24, 32)]
    together = encode_together(system, images)  # type: ignore[arg-type]
    assert sorted(system.sizes) == [1, 2]
    for image, one in zip(images, together, strict=True):
        alone = encode(system, image)  # type: ignore[arg-type]
        assert torch.allclose(alone.features.maps[0], one.features.maps[0], atol=1e-6)
        assert torch.equal(alone.features.padding, one.features.padding) and one.geometry == image.geometry
