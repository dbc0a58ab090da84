"""Lists the expressions of a split for another tool to fill in: one JSON object a sentence, without its mask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from risctl.data.datasets.saco_veval.reader import pair_of
from risctl.data.store.clips import ClipStore
from risctl.data.store.reader import Store, TextField
from risctl.evaluation.concept_report import TRACKED


def template(store: Store, *, split: str, text_field: TextField = "sent") -> Iterator[dict[str, Any]]:
    """Yields what names each sentence of a split, with `segmentation` null: "nothing predicted" until it is filled in.

    `file_name`, `height` and `width` are those of the image; the rest are keys that `risctl score` takes. Of a store of
    tracks it yields the pairs of video and phrase, whose keys each predicted track repeats.

    Raises:
        UsageError: The split is unknown.
    """
    if store.name == TRACKED:
        yield from _pairs(store, split)
        return
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


def _pairs(store: Store, split: str) -> Iterator[dict[str, Any]]:
    clips = ClipStore(store)
    for row in store.refs(split).tolist():
        ref = clips.ref(row)
        video_id, category_id = pair_of(ref.ref_id)
        image = store.image(ref.frames[0])
        yield {
            "video_id": video_id,
            "category_id": category_id,
            "text": store.sentence(ref.sentences[0]).raw,
            "file_names": [store.image(frame).file_name for frame in ref.frames],
            "height": image.height,
            "width": image.width,
        }
