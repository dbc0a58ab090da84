"""`risctl predict IMAGE PHRASE`: the masks of phrases in images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.cli.predict.inputs import InputImage, decodable, read_image
from risctl.cli.predict.result_line import result_line
from risctl.errors import DataError

if TYPE_CHECKING:
    from risctl.inference.predictor import Predictor


def predict_images(
    predictor: Predictor, images: Sequence[InputImage], phrases: Sequence[str], *, out: Path, as_json: bool
) -> None:
    """Writes the predictions of every image and phrase and prints one line for each.

    Args:
        predictor: The opened model.
        images: The images; one that cannot be read is reported, and the others are still predicted.
        phrases: The expressions.
        out: The folder to write to.
        as_json: Whether the records are printed as JSON.

    Raises:
        DataError: An image could not be read.
    """
    from risctl.inference.output_files import PredictionFolder
    from risctl.output_files import OutputFiles

    outputs = OutputFiles(inputs=[image.path for image in images])
    folder = PredictionFolder(out, model=decodable(str(predictor.path)), outputs=outputs)
    records: list[dict[str, Any]] = []
    unreadable = 0
    for image in console.progress(images, label="predict"):
        try:
            pixels = read_image(image)
        except DataError as error:
            if len(images) == 1:
                raise
            unreadable += 1
            console.fail(str(error))
            continue
        predictor.set_image(pixels)
        for prediction in predictor.iter_predictions(phrases):
            record = folder.write(prediction, image=image.shown, name=image.stem)
            records.append(record)
            if not prediction.matched:
                needed = predictor.system.no_target_threshold
                console.say(
                    f"{prediction.text!r}: no match in {image.shown}, score {prediction.score:.3f} of at least "
                    f"{needed:g}; --always shows the best guess"
                )
            if not as_json:
                console.result(result_line(record), data=record, as_json=False)
    if as_json:
        console.result("", data=records, as_json=True)
    if unreadable:
        raise DataError(f"{unreadable} of {len(images)} pictures could not be read; they are named above")
