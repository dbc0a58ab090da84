"""`risctl predict IMAGE PHRASE`: the masks of phrases in images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.cli.predict.inputs import InputImage, decodable, read_image
from risctl.cli.predict.result_line import remark_on_mask, result_line

if TYPE_CHECKING:
    from risctl.cli.predict.skipped import Skipped
    from risctl.inference.output_files import PredictionFolder
    from risctl.inference.store_predictor import PhrasePredictor


def predict_images(
    predictor: PhrasePredictor,
    images: Sequence[InputImage],
    phrases: Sequence[str],
    *,
    folder: PredictionFolder,
    skipped: Skipped,
    as_json: bool,
) -> None:
    """Writes the predictions of every image and phrase and prints one line for each.

    Args:
        predictor: The opened model.
        images: The images; one that cannot be read is reported, and the others are still predicted.
        phrases: The expressions.
        folder: The folder to write to.
        skipped: Counts the images that cannot be read.
        as_json: Whether the records are printed as JSON.

    Raises:
        DataError: An image could not be read.
    """
    records: list[dict[str, Any]] = []
    model = decodable(str(predictor.path))
    for image in console.progress(images, label="predict"):
        with skipped.reading(image.shown) as attempt:
            predictor.set_image(read_image(image))
        if attempt.failed:
            continue
        with skipped.within_memory(image.shown):
            for prediction in predictor.iter_predictions(phrases):
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
    if as_json:
        console.result("", data=records, as_json=True)
    skipped.raise_if_any()


def check_outputs(folder: PredictionFolder, images: Sequence[InputImage], phrases: Sequence[str]) -> None:
    """Raises `UsageError` if a file that is there already would be replaced, before anything is computed."""
    for image in images:
        folder.check(name=image.stem, file_name=image.file_name, texts=phrases)
