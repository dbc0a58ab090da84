"""What a worker does, on every engine: images and phrases in, rows out. It writes nothing and keeps nothing."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import DataError, MachineError, UsageError
from risctl.inference.batch_size import AUTO
from risctl.inference.image_work import Outcome, outcomes_of
from risctl.inference.store_predictor import PhrasePredictor
from risctl.labelling.reading import read_address
from risctl.labelling.tasks import Task

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model that labels, as it is named: what a worker on another machine opens.

    Attributes:
        name: As `risctl.models.open.open_predictor` takes it; None: the model that comes with risctl.
        device: `auto`, `cpu`, `cuda` or `mps`.
        threshold: In place of the model's own.
        no_target_threshold: In place of the model's own.
        surest: Of a model of transformers: whether its surest instance alone is the answer.
    """

    name: str | None = None
    device: str = "auto"
    threshold: float | None = None
    no_target_threshold: float | None = None
    surest: bool = False

    def open(self) -> PhrasePredictor:
        """Opens the model. Raises as `open_predictor` does."""
        from risctl.models.open import open_predictor

        return open_predictor(
            self.name,
            device=self.device,
            threshold=self.threshold,
            no_target_threshold=self.no_target_threshold,
            surest=self.surest,
        )


class Labeller:
    """Labels images: the work of `risctl.inference.image_stream.stream`, and of actors on other machines.

    What comes of an image depends on the image, its phrases and the model alone.
    """

    def __init__(self, predictor: PhrasePredictor, *, digest: str, min_score: float = 0.0) -> None:
        """Labels with a model.

        Args:
            predictor: The model.
            digest: What identifies its weights.
            min_score: Rows that score less are left out; those with an error stay.
        """
        self._predictor, self._digest, self._min_score = predictor, digest, min_score
        self._model = str(predictor.path)

    def read(self, item: Task) -> tuple[np.ndarray, Any]:
        """Returns the pixels of an image, and the image as the model takes it."""
        pixels = read_address(item.image)
        return pixels, self._predictor.prepare_image(pixels)

    def encode(self, read: Sequence[tuple[np.ndarray, Any]]) -> list[Any]:
        """Encodes images that were read."""
        return self._predictor.encode_images([prepared for _, prepared in read])

    def finish(self, item: Task, read: tuple[np.ndarray, Any], encoded: Any) -> list[Row]:
        """Returns the rows of an image."""
        predictor = copy.copy(self._predictor)  # several threads finish images, and which one is set is state
        predictor.set_encoded(encoded, read[0])
        return [row for row in self._rows(predictor, item) if row["error"] or row["score"] >= self._min_score]

    def _rows(self, predictor: PhrasePredictor, task: Task) -> Iterator[Row]:
        usable = []
        for phrase in task.phrases:
            try:
                predictor.warnings(phrase)
            except UsageError as error:
                yield self._row(task, phrase, error=str(error))
            else:
                usable.append(phrase)
        if not usable:
            return
        for prediction in predictor.iter_predictions(usable):
            told = prediction.to_dict()
            height, width = told["segmentation"]["size"]
            yield self._row(
                task,
                prediction.text,
                width=width,
                height=height,
                **{key: told[key] for key in ("matched", "score", "box", "area", "segmentation", "threshold")},
            )

    def rows_of(self, outcome: Outcome[Task, list[Row]]) -> list[Row]:
        """Returns the rows of an image, in the order of its phrases; rows with an error where it could not be labelled.

        Raises:
            MachineError: The machine lacks something that no image can do without.
        """
        error = outcome.error
        if error is None:
            order = {phrase: place for place, phrase in enumerate(outcome.item.phrases)}
            return sorted(outcome.value(), key=lambda row: order[row["phrase"]])
        if isinstance(error, MachineError):
            raise error
        told = "it needs more memory than there is" if not isinstance(error, DataError) else str(error)
        return [self._row(outcome.item, phrase, error=told) for phrase in outcome.item.phrases]

    def _row(self, task: Task, phrase: str, *, error: str | None = None, **known: Any) -> Row:
        row: Row = dict.fromkeys(COLUMNS)
        # A name of a file may have bytes that are no text.
        shown = task.image.encode(errors="surrogateescape").decode(errors="replace")
        row |= {"image": shown, "phrase": phrase, "index": task.index, "error": error}
        return row | {"model": self._model, "digest": self._digest} | known


COLUMNS = (
    *("image", "phrase", "index", "width", "height", "matched", "score", "box", "area", "segmentation", "threshold"),
    *("model", "digest", "error", "decision"),
)
"""The columns of a row. Where an image could not be labelled, `error` says why and what is measured is null."""


def label(tasks: Sequence[Task], labeller: Labeller, *, batch: int | str = 1) -> list[Row]:
    """Labels images: the one function of every engine, from tasks to rows.

    Args:
        tasks: The images with their phrases.
        labeller: The opened model.
        batch: Images that are encoded together; `auto` stands for 1 here.
    """
    size = 1 if batch == AUTO else int(batch)
    rows: list[Row] = []
    for start in range(0, len(tasks), size):
        for outcome in outcomes_of(labeller, tasks[start : start + size]):
            rows += labeller.rows_of(outcome)
    return rows


def digest_of(predictor: Any) -> str:
    """Returns the SHA-256 that identifies a model's weights: of its file, or of all its parameters."""
    path = Path(str(predictor.path))
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    found = hashlib.sha256(str(path).encode())
    for module in _modules(predictor, depth=4, seen=set()):
        for name, values in module.state_dict().items():
            found.update(name.encode())
            found.update(values.detach().cpu().contiguous().reshape(-1).view(_bytes()).numpy().data)
    return found.hexdigest()


def _bytes() -> Any:
    import torch

    return torch.uint8


def _modules(value: Any, *, depth: int, seen: set[int]) -> Iterator[Any]:
    """Yields the torch modules that an object holds, in the order of its attributes."""
    import torch

    if id(value) in seen or depth < 0:
        return
    seen.add(id(value))
    if isinstance(value, torch.nn.Module):
        yield value
    elif type(value).__module__.startswith("risctl."):
        for inner in getattr(value, "__dict__", {}).values():
            yield from _modules(inner, depth=depth - 1, seen=seen)
