"""Answers phrases about images with the server's models: each image is decoded and encoded once."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from risctl.demo.explaining import explained, explanation_kind
from risctl.demo.held_images import HeldImage, HeldImages
from risctl.demo.limits import Deadline, Limits
from risctl.demo.metrics import Metrics
from risctl.demo.problems import ProblemError, too_busy
from risctl.demo.served_video import answer_video, result, takes_videos
from risctl.vision.images import image_size, read_image_with_notes


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model of the server.

    Attributes:
        key: What requests call it.
        name: What a page calls it: no path of this machine.
        predictor: What answers (`risctl.inference.store_predictor.PhrasePredictor`).
        explains: What it shows of its answers, None if nothing.
        video: Whether it answers videos.
    """

    key: str
    name: str
    predictor: Any
    explains: str | None
    video: bool

    @classmethod
    def of(cls, predictor: Any, *, key: str, name: str) -> ServedModel:
        """Returns a predictor with what it can do; of a name that is a path, its last part is shown."""
        return cls(
            key=key,
            name=name.replace("\\", "/").rstrip("/").rpartition("/")[2] if Path(name).exists() else name,
            predictor=predictor,
            explains=explanation_kind(predictor),
            video=takes_videos(predictor),
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns what a page must know of it."""
        return {
            "key": self.key,
            "name": self.name,
            "description": self.predictor.describe().replace(str(self.predictor.path), self.name),
            "explains": self.explains,
            "video": self.video,
        }


class Answering:
    """Answers requests one after the other; called from one thread.

    Attributes:
        images: The images that are kept.
    """

    def __init__(self, models: Sequence[ServedModel], *, limits: Limits, metrics: Metrics) -> None:
        self.models = {model.key: model for model in models}
        self.images = HeldImages(count=limits.images, most_bytes=limits.image_bytes)
        self._limits, self._metrics = limits, metrics

    def model(self, key: str | None) -> ServedModel:
        """Returns a model by its key, the first for None.

        Raises:
            ProblemError: There is none of that key.
        """
        found = next(iter(self.models.values())) if key is None else self.models.get(key)
        if found is None:
            raise ProblemError(422, "unknown-model", f"unknown model {key!r:.60}; known: {', '.join(self.models)}")
        return found

    def segment(
        self, data: bytes | None, digest: str | None, phrases: Sequence[str], *, model: str | None, deadline: Deadline
    ) -> dict[str, Any]:
        """Answers phrases about an image.

        Args:
            data: The image's bytes, or None.
            digest: What names an image that was sent before.
            phrases: The phrases.
            model: The model's key.
            deadline: Until when it must be done.

        Raises:
            ProblemError: The image is not kept or too large, the model unknown, or the deadline passed.
            DataError: The image cannot be read.
            UsageError: A phrase cannot be read.
        """
        served = self.model(model)
        warnings = [served.predictor.warnings(phrase) for phrase in phrases]
        held = self._image(data, digest)
        predictor = self._predictor(served, held)
        results: list[dict[str, Any]] = []
        for prediction in predictor.iter_predictions(phrases):
            results.append(result(prediction, warnings[len(results)]))
            if deadline.passed and len(results) < len(phrases):
                self._metrics.add("timeouts")
                raise too_busy(503, "timeout", f"time for {len(results)} of {len(phrases)} phrases; ask fewer")
        self._metrics.add("phrases", len(results))
        return {
            "digest": held.digest,
            "height": held.pixels.shape[0],
            "width": held.pixels.shape[1],
            "notes": list(held.notes),
            "model": served.key,
            "results": results,
        }

    def explain(self, data: bytes | None, digest: str | None, phrase: str, *, model: str | None) -> dict[str, Any]:
        """Explains the answer to one phrase; arguments and errors are those of `segment`."""
        served = self.model(model)
        if served.explains is None:
            raise ProblemError(422, "no-explanation", f"{served.name} shows nothing of how it came to an answer")
        served.predictor.warnings(phrase)
        held = self._image(data, digest)
        return {"text": phrase, **explained(self._predictor(served, held), phrase)}

    def video(self, data: bytes, phrases: Sequence[str], *, model: str | None, deadline: Deadline) -> dict[str, Any]:
        """Answers phrases in the first frames of a video.

        Raises:
            ProblemError: The model takes no videos, or the video is of another kind or too large.
            DataError: It is damaged.
            UsageError: A phrase cannot be read.
        """
        served = self.model(model)
        if not served.video:
            raise ProblemError(422, "no-videos", f"{served.name} answers no videos here (they need risctl[video])")
        for phrase in phrases:
            served.predictor.warnings(phrase)
        found = answer_video(served.predictor, data, phrases, limits=self._limits, deadline=deadline)
        self._metrics.add("phrases", len(phrases))
        return {"model": served.key, **found}

    def picture(self, digest: str) -> bytes:
        """Returns an image that is kept, as PNG: its pixels as the models saw them.

        Raises:
            ProblemError: It is not kept.
        """
        file = io.BytesIO()
        Image.fromarray(self._image(None, digest).pixels).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def _image(self, data: bytes | None, digest: str | None) -> HeldImage:
        known = digest if data is None else hashlib.sha256(data).hexdigest()
        assert known is not None  # a request has either
        held = self.images.get(known)
        if held is None and data is None:
            raise ProblemError(404, "image-not-kept", "the server does not keep that image (any more); send it")
        if held is None:
            assert data is not None
            height, width = image_size(data)
            if height * width > self._limits.pixels:
                raise ProblemError(
                    413,
                    "too-many-pixels",
                    f"{width}x{height} are {width * height:,} pixels, more than the limit of {self._limits.pixels:,}",
                )
            read = read_image_with_notes(data, max_pixels=self._limits.pixels)
            held = HeldImage(digest=known, pixels=read.pixels, notes=read.notes)
        self.images.put(held)
        return held

    def _predictor(self, served: ServedModel, held: HeldImage) -> Any:
        """Returns a model with an image set, which is encoded only if it was not yet."""
        if served.key in held.encoded:
            self._metrics.add("reused_images")
        else:
            [encoded] = served.predictor.encode_images([served.predictor.prepare_image(held.pixels)])
            held.encoded[served.key] = encoded
            self.images.put(held)  # it is larger now
            self._metrics.add("encoded_images")
        predictor = copy.copy(served.predictor)  # which image is set is state
        predictor.set_encoded(held.encoded[served.key], held.pixels)
        return predictor
