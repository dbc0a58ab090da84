"""Reads the images and masks of a store in the form that formats are written from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from risctl.data.formats.annotated import LABEL, AnnotatedImage, AnnotatedMask
from risctl.data.formats.file_names import FileNames
from risctl.data.store.reader import Store, TextField


def image_files(store: Store, split: str) -> dict[int, str]:
    """Returns a file name for each image of a split, by its row: the publisher's, made safe, and distinct.

    Folders of the publisher stay, but for what would lead out of the folder of images.
    """
    taken, names = FileNames(), {}
    for row in store.images(split).tolist():
        image = store.image(row)
        names[row] = taken.distinct(image.file_name or f"{image.image_id}.jpg", number=row)
    return names


def annotated_images(
    store: Store, split: str, names: Mapping[int, str], *, text_field: TextField = "sent"
) -> Iterator[AnnotatedImage]:
    """Yields the images of a split with the masks of all refs, in the order of the store.

    Args:
        store: A store of images.
        split: The split.
        names: The file names of `image_files`.
        text_field: Which form of the sentences is taken.
    """
    refs_by_image: dict[int, list[int]] = {}
    images = store.numbers("refs/image")
    for row in store.refs(split).tolist():
        refs_by_image.setdefault(int(images[row]), []).append(row)
    for row, name in names.items():
        image = store.image(row)
        masks = []
        for ref_row in refs_by_image.get(row, ()):
            ref = store.ref(ref_row)
            sentences = [store.sentence(int(one)) for one in ref.sentences]
            if not sentences:
                continue
            kinds = {store.category(number) for number in ref.category_ids}
            masks.append(
                AnnotatedMask(
                    mask=store.mask(ref_row),
                    phrases=tuple(one.text(text_field) for one in sentences),
                    category=kinds.pop() if len(kinds) == 1 else LABEL,
                    ref_id=ref.ref_id,
                    sentence_ids=tuple(one.sentence_id for one in sentences),
                )
            )
        yield AnnotatedImage(
            image_id=image.image_id, file_name=name, height=image.height, width=image.width, masks=tuple(masks)
        )
