"""`risctl predict IMAGE PHRASE`: the masks of phrases in images."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.cli.predict.classes import image_ids
from risctl.cli.predict.inputs import InputImage, decodable, read_with_notes
from risctl.cli.predict.result_line import remark_on_mask, result_line

if TYPE_CHECKING:
    from risctl.cli.predict.skipped import Skipped
    from risctl.inference.format_files import PredictionFormats
    from risctl.inference.image_work import Outcome
    from risctl.inference.output_files import PredictionFolder
    from risctl.inference.store_predictor import PhrasePredictor
    from risctl.vision.images import LoadedImage


@dataclass(slots=True, kw_only=True)
class _Answered:
    """What came of an image: records, and the error that ended them before the last phrase, None if there was none."""

    notes: tuple[str, ...]
    records: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None


class _Predicting:
    """What is done with each image: it is read, encoded, and its phrases are answered and written."""

    def __init__(self, predictor: PhrasePredictor, phrases: Sequence[str], folder: PredictionFolder | None) -> None:
        self._predictor, self._phrases, self._folder = predictor, phrases, folder
        self._model = decodable(str(predictor.path))

    def read(self, image: InputImage) -> tuple[LoadedImage, Any]:
        picture = read_with_notes(image)
        return picture, self._predictor.prepare_image(picture.pixels)

    def encode(self, read: Sequence[tuple[LoadedImage, Any]]) -> list[Any]:
        return self._predictor.encode_images([prepared for _, prepared in read])

    def finish(self, image: InputImage, read: tuple[LoadedImage, Any], encoded: Any) -> _Answered:
        picture, _ = read
        predictor = copy.copy(self._predictor)  # several threads finish images, and which one is set is state
        predictor.set_encoded(encoded, picture.pixels)
        answered = _Answered(notes=picture.notes)
        try:
            answered.records.extend(self._records(predictor, image))
        except (MemoryError, RuntimeError) as error:
            from risctl.inference.batch_size import is_out_of_memory

            if not is_out_of_memory(error):
                raise
            answered.error = error  # what was answered before is kept
        return answered

    def _records(self, predictor: PhrasePredictor, image: InputImage) -> Iterator[dict[str, Any]]:
        from risctl.inference.output_files import prediction_record

        names = {"image": image.shown, "file_name": image.file_name, "model": self._model}
        for prediction in predictor.iter_predictions(self._phrases):
            if self._folder is None:
                yield prediction_record(prediction, **names)
            else:
                yield self._folder.write(prediction, name=image.stem, **names)


def predict_images(
    predictor: PhrasePredictor,
    images: Sequence[InputImage],
    phrases: Sequence[str],
    *,
    folder: PredictionFolder | None,
    formats: PredictionFormats | None,
    skipped: Skipped,
    as_json: bool,
    workers: int | None = 1,
    batch: int | str = 1,
) -> None:
    """Writes the predictions of every image and phrase and prints one line for each.

    Files of formats are written once all images are done, so that they are whole or absent.

    Args:
        predictor: The opened model.
        images: The images; one that cannot be read is reported, and the others are still predicted.
        phrases: The expressions.
        folder: The folder to write the files of each phrase to, None for none.
        formats: The formats of annotation tools to write, None for none.
        skipped: Counts the images that cannot be read.
        as_json: Whether the records are printed as JSON.
        workers: Processes that compute on a CPU, None for as many as cores are free; see `process_count`.
        batch: Images that are encoded together, or `auto`; see `stream`.

    Raises:
        DataError: An image could not be read.
    """
    from risctl.inference.image_stream import stream
    from risctl.inference.process_pool import process_count

    records: list[dict[str, Any]] = []
    image_numbers = image_ids(images)
    forks, several = predictor.forks, len(images) > 1
    outcomes = stream(
        _Predicting(predictor, phrases, folder),
        images,
        processes=process_count(workers, images=len(images), forks=forks),
        batch=batch,
        threads=int(several),
        finishers=0 if forks or not several else 2,
    )
    count = 0
    for outcome in console.progress(outcomes, label="predict", total=len(images)):
        image = outcome.item
        answered = _answered(outcome, skipped)
        if answered is None:
            continue
        count += len(answered.records)
        for record in answered.records:
            _tell(record, predictor, image=image.shown, as_json=as_json)
        if as_json:  # all of them are one text; else none is kept
            records.extend(answered.records)
        if formats is not None:
            name = None if image.path is None else decodable(image.path.name)
            masks = [_annotated(record) for record in answered.records]
            formats.add_masks(image.source, masks, name=name, image_id=image_numbers[image.file_name])
    if formats is not None and count:
        for name, written in formats.write().items():
            console.say(f"{formats.folder / name}: {written} file{'s' if written != 1 else ''}")
    if as_json:
        console.result("", data=records, as_json=True)
    skipped.raise_if_any()


def _answered(outcome: Outcome[InputImage, _Answered], skipped: Skipped) -> _Answered | None:
    """Returns what came of an image; None if nothing did, which is then told and counted."""
    shown = outcome.item.shown
    with skipped.reading(shown) if outcome.unread else nullcontext(), skipped.within_memory(shown):
        answered = outcome.value()
        for note in answered.notes:
            console.warn(f"{shown} {note}")
        with skipped.within_memory(shown):
            if answered.error is not None:
                raise answered.error
        return answered
    return None


def _tell(record: dict[str, Any], predictor: PhrasePredictor, *, image: str, as_json: bool) -> None:
    """Prints the line of a prediction, and what to know about it."""
    if record["matched"]:
        remark_on_mask(record, image=image)
    else:
        console.say(
            f"{record['text']!r}: no match in {image}, score {record['score']:.3f} of at least "
            f"{predictor.no_target_threshold:g}; --always shows the best guess"
        )
    if not as_json:
        console.result(result_line(record), data=record, as_json=False)


def _annotated(record: dict[str, Any]) -> Any:
    from risctl.data.formats.annotated import AnnotatedMask

    return AnnotatedMask(mask=record["segmentation"], phrases=(record["text"],), score=record["score"])


def check_outputs(folder: PredictionFolder, images: Sequence[InputImage], phrases: Sequence[str]) -> None:
    """Raises `UsageError` if a file that is there already would be replaced, before anything is computed."""
    for image in images:
        folder.check(name=image.stem, file_name=image.file_name, texts=phrases)
