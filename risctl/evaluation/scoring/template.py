"""Lists the expressions of a split for another tool to fill in: one JSON object a sentence, without its mask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from risctl.data.store.reader import Store, TextField


def template(store: Store, *, split: str, text_field: TextField = "sent") -> Iterator[dict[str, Any]]:
    """Yields what names each sentence of a split, with `segmentation` null: "nothing predicted" until it is filled in.

    `file_name`, `height` and `width` are those of the image; the rest are keys that `risctl score` takes.

    Raises:
        UsageError: The split is unknown.
    """
    for row in store.sentences(split).tolist():
        sentence = store.sentence(row)
        ref, image = store.ref(sentence.ref), store.image(sentence.image)
        yield {
            "sent_id": sentence.sentence_id,
            "ref_id": ref.ref_id,
            "sent_index": row - int(ref.sentences[0]),
            "image_id": image.image_id,
            "file_name": image.file_name,
            "height": image.height,
            "width": image.width,
            "text": sentence.text(text_field),
            "segmentation": None,
        }
