"""`risctl predict IMAGE PHRASE`: the masks of phrases in images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.cli.predict.classes import image_ids
from risctl.cli.predict.inputs import InputImage, decodable, read_image
from risctl.cli.predict.result_line import remark_on_mask, result_line

if TYPE_CHECKING:
    from risctl.cli.predict.skipped import Skipped
    from risctl.inference.format_files import PredictionFormats
    from risctl.inference.output_files import PredictionFolder
    from risctl.inference.store_predictor import PhrasePredictor
    from risctl.results import Prediction


def predict_images(
    predictor: PhrasePredictor,
    images: Sequence[InputImage],
    phrases: Sequence[str],
    *,
    folder: PredictionFolder | None,
    formats: PredictionFormats | None,
    skipped: Skipped,
    as_json: bool,
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

    Raises:
        DataError: An image could not be read.
    """
    records: list[dict[str, Any]] = []
    image_numbers = image_ids(images)
    model = decodable(str(predictor.path))
    for image in console.progress(images, label="predict"):
        with skipped.reading(image.shown) as attempt:
            predictor.set_image(read_image(image))
        if attempt.failed:
            continue
        with skipped.within_memory(image.shown):
            told = _told(predictor, phrases, image, records, folder=folder, model=model, as_json=as_json)
            if formats is None:
                for _ in told:
                    pass
            else:
                name = None if image.path is None else decodable(image.path.name)
                formats.add(image.source, told, name=name, image_id=image_numbers[image.file_name])
    if formats is not None and records:
        for name, count in formats.write().items():
            console.say(f"{formats.folder / name}: {count} file{'s' if count != 1 else ''}")
    if as_json:
        console.result("", data=records, as_json=True)
    skipped.raise_if_any()


def _told(
    predictor: PhrasePredictor,
    phrases: Sequence[str],
    image: InputImage,
    records: list[dict[str, Any]],
    *,
    folder: PredictionFolder | None,
    model: str,
    as_json: bool,
) -> Iterator[Prediction]:
    """Writes and prints the predictions of the image that is set, one by one, and yields them."""
    from risctl.inference.output_files import prediction_record

    for prediction in predictor.iter_predictions(phrases):
        if folder is None:
            record = prediction_record(prediction, image=image.shown, file_name=image.file_name, model=model)
        else:
            record = folder.write(
                prediction, image=image.shown, name=image.stem, file_name=image.file_name, model=model
            )
        records.append(record)
        if prediction.matched:
            remark_on_mask(record, image=image.shown)
        else:
            needed = predictor.no_target_threshold
            console.say(
                f"{prediction.text!r}: no match in {image.shown}, score {prediction.score:.3f} of at least "
                f"{needed:g}; --always shows the best guess"
            )
        if not as_json:
            console.result(result_line(record), data=record, as_json=False)
        yield prediction


def check_outputs(folder: PredictionFolder, images: Sequence[InputImage], phrases: Sequence[str]) -> None:
    """Raises `UsageError` if a file that is there already would be replaced, before anything is computed."""
    for image in images:
        folder.check(name=image.stem, file_name=image.file_name, texts=phrases)
