"""Writes predictions in the formats that annotation tools open."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from risctl.data.formats.annotated import AnnotatedImage, AnnotatedMask
from risctl.data.formats.file_names import FileNames
from risctl.data.formats.write import IMAGES, check_folders, parse_formats, write_formats, write_images
from risctl.errors import DataError
from risctl.output_files import OutputFiles
from risctl.results import Prediction

_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}


class PredictionFormats:
    """Collects predictions of images, masks as run lengths, and writes them in several formats at the end.

    Each format is written into `FOLDER/FORMAT/`, and the images once into `FOLDER/images/`. The phrase and the score
    travel with the mask; a phrase that was answered with "no match" stays as one of nothing.

    Example:
        >>> formats = PredictionFormats("out", ["coco", "labelme"])
        >>> for path in paths:
        ...     formats.add(path, model.predict(path, ["the red cup"]))
        >>> formats.write()
        {'coco': 1, 'labelme': 2, 'images': 2}
    """

    def __init__(
        self, folder: str | Path, formats: Sequence[str], *, images: bool = True, outputs: OutputFiles | None = None
    ) -> None:
        """Names what will be written.

        Args:
            folder: The folder of the formats' folders.
            formats: Names of formats: coco, coco-results, labelme, yolo-seg, cvat, label-studio, davis.
            images: Whether the images are copied, too.
            outputs: The guard of the command's output files.

        Raises:
            UsageError: A format is unknown, or its folder holds something that must stay.
        """
        self.folder = Path(folder)
        self.formats = parse_formats(",".join(formats), option="formats")
        self._outputs = outputs or OutputFiles()
        self._with_images = images
        check_folders(self.folder, self.formats, images=images, outputs=self._outputs)
        self._names = FileNames()
        self._images: list[AnnotatedImage] = []
        self._sources: list[tuple[str, Callable[[], bytes]]] = []

    def add(
        self,
        source: str | Path | bytes,
        predictions: Iterable[Prediction],
        *,
        name: str | None = None,
        image_id: int | None = None,
    ) -> None:
        """Adds the predictions of an image.

        Args:
            source: The image's file, or its encoded bytes.
            predictions: Its predictions, whose masks have its size; each is let go once its mask is encoded.
            name: What it is called, without folders; by default as its file is.
            image_id: A number of its own; by default its place among those that were added, from 1.
        """
        masks = [
            AnnotatedMask(mask=one.rle(), phrases=(one.text,), score=round(float(one.score), 6)) for one in predictions
        ]
        self.add_masks(source, masks, name=name, image_id=image_id)

    def add_masks(
        self,
        source: str | Path | bytes,
        masks: Sequence[AnnotatedMask],
        *,
        name: str | None = None,
        image_id: int | None = None,
    ) -> None:
        """Adds the masks of an image, as `add` does."""
        number = len(self._images) + 1 if image_id is None else image_id
        if not masks:
            return
        if name is None:
            name = f"{number}{_suffix(source)}" if isinstance(source, bytes) else Path(source).name
        file_name = self._names.distinct(name, number=number)
        height, width = masks[0].mask["size"]
        self._images.append(
            AnnotatedImage(image_id=number, file_name=file_name, height=height, width=width, masks=tuple(masks))
        )
        self._sources.append((file_name, partial(_content, source)))

    def write(self) -> dict[str, int]:
        """Writes all formats, and returns the number of files of each and of the images.

        Raises:
            DataError: A folder cannot be written, or an image is gone.
            MachineError: The disk is full.
        """
        written = write_formats(self.formats, lambda name: self._images, self.folder, outputs=self._outputs)
        if self._with_images:
            written[IMAGES] = write_images(self._sources, self.folder, names=self.formats, outputs=self._outputs)
        return written


def _content(source: str | Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror or error}") from error


def _suffix(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = image.format or ""
    except Exception:  # decoders raise almost anything on damaged data
        kind = ""
    return _SUFFIXES.get(kind, f".{kind.lower()}" if kind else "")
