"""Labels a collection: plans it, gives its images to an engine, and writes the parts as they become whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import Any

from risctl.data.download.addresses import is_address
from risctl.errors import DataError, UsageError
from risctl.inference.batch_size import AUTO
from risctl.inference.image_stream import stream
from risctl.inference.process_pool import process_count
from risctl.labelling.output import LabelFolder, Request
from risctl.labelling.tasks import Task
from risctl.labelling.worker import Labeller, Row

Labelled = tuple[Task, list[Row]]
Engine = Callable[[Iterable[Task], int], Iterator[Labelled]]
"""Takes images and how many there are, and yields the rows of each, all of a part before those of the next."""

_READERS, _REMOTE_READERS = 2, 16  # threads of a process that read; most of the time of a network is its latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run has written.

    Attributes:
        images: Images of the whole collection, or of this shard.
        rows: Rows in all.
        failed: Images that could not be labelled.
    """

    images: int
    rows: int
    failed: int


class LocalEngine:
    """Labels in processes of this machine, or, on a GPU, in this one with threads that read and write."""

    def __init__(self, labeller: Labeller, *, forks: bool, workers: int | None = None, batch: int | str = AUTO) -> None:
        """Takes the opened model.

        Args:
            labeller: What labels.
            forks: Whether the model may be used in forked processes.
            workers: Processes; None: as many as cores are free, see `process_count`.
            batch: Images that are encoded together, or `auto`.
        """
        self._labeller, self._forks, self._workers, self._batch = labeller, forks, workers, batch

    def __call__(self, tasks: Iterable[Task], count: int) -> Iterator[Labelled]:
        """Yields the images with their rows, in their order."""
        source = iter(tasks)
        first = list(islice(source, 1))
        remote = any(is_address(task.image) for task in first)
        outcomes = stream(
            self._labeller,
            chain(first, source),
            processes=process_count(self._workers, images=count, forks=self._forks),
            batch=self._batch,
            threads=(_REMOTE_READERS if remote else _READERS) if count > 1 else 0,
            finishers=0 if self._forks else 2,
        )
        for outcome in outcomes:
            yield outcome.item, self._labeller.rows_of(outcome)


def prepare(
    folder: LabelFolder, request: Request, tasks: Callable[[], Iterable[Task]], *, resume: bool, overwrite: bool
) -> None:
    """Begins a run in a folder that is locked, or opens one that was begun.

    Raises:
        UsageError: There is another run, and neither `resume` nor `overwrite` says what becomes of it.
        DataError: The source has nothing to label.
    """
    if folder.exists() and resume:
        folder.open()
        folder.check(request)
        return
    if folder.exists() and not overwrite:
        raise UsageError(
            f"{folder.path} holds labels already; go on with --resume, replace them with --overwrite, or name another "
            "output"
        )
    folder.clear()
    folder.begin(request, tasks())
    folder.open()


def label_folder(
    folder: LabelFolder, engine: Engine, *, progress: Callable[[int, int | None], None] = lambda done, total: None
) -> Summary:
    """Labels what is missing in a folder that is prepared and locked.

    Args:
        folder: The folder.
        engine: What labels.
        progress: Called with the numbers of images that are done and that there are.

    Raises:
        DataError: The plan was damaged.
    """
    total = sum(_length(folder, number) for number in folder.numbers())
    left = folder.left()
    before = total - sum(_length(folder, number) for number in left)
    progress(before, total)
    done = before
    if left:
        for number, some in groupby(engine(folder.tasks(), total - before), lambda one: one[0].index // folder.size):
            rows: list[Row] = []
            images = 0
            for _, of_image in some:
                rows += of_image
                images += 1
                progress(done + images, total)
            if images != _length(folder, number):
                raise DataError(f"{folder.path}: the plan has {images} images of part {number}; begin anew")
            folder.write_part(number, rows)
            done += images
    if folder.left():
        raise DataError(f"{folder.path}: the plan lacks the images of part {folder.left()[0]}; begin anew")
    rows_written, failed = folder.counts()
    return Summary(images=total, rows=rows_written, failed=failed)


def _length(folder: LabelFolder, number: int) -> int:
    return min(folder.size, int(folder.about["images"]) - number * folder.size)


def check_phrases(tasks: Iterable[Task], warnings: Callable[[str], Any]) -> Iterator[Task]:
    """Yields tasks; raises `UsageError` at the first phrase that the model cannot read at all."""
    seen: set[str] = set()
    for task in tasks:
        for phrase in task.phrases:
            if phrase not in seen:
                warnings(phrase)
                if len(seen) < 100_000:
                    seen.add(phrase)
        yield task
