"""Gives the masks of predictions in the form that formats of annotation tools are written from."""

from __future__ import annotations

from collections.abc import Mapping

from risctl.data.formats.annotated import LABEL, AnnotatedImage, AnnotatedMask
from risctl.data.store.reader import Store, TextField
from risctl.evaluation.scoring.masks import Resize, WrongSizeError
from risctl.evaluation.scoring.matching import Matches, Tally, match
from risctl.evaluation.scoring.predicted_masks import PredictedMasks
from risctl.evaluation.scoring.source import PredictionSource, UnreadableMaskError
from risctl.metrics.overlaps import Mask
from risctl.vision import rle
from risctl.vision.rle import RLE


def predicted_images(
    source: PredictionSource,
    store: Store,
    *,
    split: str,
    names: Mapping[int, str],
    text_field: TextField = "sent",
    key: str | None = None,
    resize: Resize | None = None,
    threshold: float | None = None,
    lenient: bool = False,
) -> tuple[list[AnnotatedImage], Matches, Tally]:
    """Reads all predictions of a split, so that a broken one is an error before anything is written.

    Masks are kept as run lengths. Several scored predictions of a sentence are instances; their union is its mask, as
    where they are scored. Sentences without a prediction are left out.

    Args:
        source: The predictions.
        store: A store of images.
        split: The split.
        names: The file names of `image_files`.
        text_field: Which form of the sentences is taken.
        key: See `pick_key`.
        resize: See `checked`.
        threshold: See `checked`.
        lenient: Whether predictions that cannot be read are left out, and are errors otherwise.

    Returns:
        The images with the predicted masks, how predictions were matched, and the masks that could not be read.

    Raises:
        UsageError: The split or the key is unknown.
        DataError: A prediction is broken, ambiguous, of a wrong size, or none is of the split.
    """
    matches = match(source, store, split=split, key=key, lenient=lenient)
    masks = PredictedMasks(source, store, matches, protocols=(), resize=resize, threshold=threshold)
    found: dict[int, list[AnnotatedMask]] = {}
    broken = Tally()
    for row in matches.rows.tolist():
        sentence = store.sentence(row)
        ref, image = store.ref(sentence.ref), store.image(sentence.image)
        try:
            predicted = masks.of(row, size=(image.height, image.width))
        except WrongSizeError as error:
            raise masks.error(str(error)) from None
        except UnreadableMaskError as error:
            if not lenient:
                raise masks.error(f"{error}; mend it, or leave such predictions out with --lenient") from None
            broken.add(str(error).partition(":")[0])
            continue
        if predicted is None:
            continue
        mask, score, none = predicted
        categories = {store.category(number) for number in ref.category_ids}
        found.setdefault(sentence.image, []).append(
            AnnotatedMask(
                mask=rle.empty(image.height, image.width) if none else _encoded(mask),
                phrases=(sentence.text(text_field),),
                category=categories.pop() if len(categories) == 1 else LABEL,
                ref_id=ref.ref_id,
                sentence_ids=(sentence.sentence_id,),
                score=score,
            )
        )
    return [_image(store, row, name, found.get(row, [])) for row, name in names.items()], matches, broken


def _image(store: Store, row: int, name: str, masks: list[AnnotatedMask]) -> AnnotatedImage:
    image = store.image(row)
    return AnnotatedImage(
        image_id=image.image_id, file_name=name, height=image.height, width=image.width, masks=tuple(masks)
    )


def _encoded(mask: Mask) -> RLE:
    return mask if isinstance(mask, dict) else rle.encode(mask)
