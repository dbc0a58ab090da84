"""The predictor: a trained model that is asked phrases about pictures.

The model is pure, the predictor is not: it keeps the picture that it encoded last, so that each further phrase costs
only its own part (as in segment-anything's `predictor.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from risctl.checkpoints.checkpoint import Loaded, load_checkpoint
from risctl.core.encoders.base import VisualFeatures
from risctl.devices import device_name, pick_device
from risctl.errors import UsageError
from risctl.language.tokens import words_of
from risctl.metrics.protocols import get_protocol
from risctl.results import Detection, Prediction
from risctl.systems.base import Output, System
from risctl.systems.protocols import BoxGrounder, as_detector
from risctl.vision.geometry import Geometry
from risctl.vision.images import Source, read_image


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """The picture in hand: its pixels, how it lies in the input, its features (of one image)."""

    pixels: np.ndarray
    geometry: Geometry
    features: VisualFeatures


class Predictor:
    """Answers phrases about pictures with masks.

    >>> predictor = Predictor.load()  # the model that risctl comes with; Predictor.load("runs/vlt-scenes") for others
    >>> cup, plate = predictor.predict("table.jpg", ["the red cup", "the plate behind it"])
    >>> cup.mask.shape, cup.score
    >>> predictor.ask("the left chair")[0].rle()  # of the same picture, without encoding it again
    """

    def __init__(
        self, loaded: Loaded, *, threshold: float | None = None, no_target_threshold: float | None = None
    ) -> None:
        """Predict with a rebuilt checkpoint.

        `threshold` in [0, 1): a pixel is in the mask if its probability is above it; None takes `eval.threshold` of the
        checkpoint's recipe, else that of its protocol. `no_target_threshold` in [0, 1]: a phrase whose score is below
        it is answered with nothing (`Prediction.matched`), 0 answers every phrase; None takes the model's own. Raises
        `UsageError` if one is out of range.
        """
        if no_target_threshold is not None and not 0 <= no_target_threshold <= 1:
            raise UsageError(f"expected a no-target threshold between 0 and 1, got {no_target_threshold:g}")
        settings = loaded.recipe.eval
        chosen = settings.threshold if threshold is None else threshold
        self.threshold: float = get_protocol(settings.protocol).with_threshold(chosen).threshold
        self.system: System = loaded.system
        if no_target_threshold is not None:
            self.system.no_target_threshold = no_target_threshold
        self.path: Path = loaded.path
        self._loaded = loaded
        self._encoded: _Encoded | None = None

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        device: str = "auto",
        threshold: float | None = None,
        no_target_threshold: float | None = None,
    ) -> Predictor:
        """Open a run folder (its `best` checkpoint, else its `last`), a checkpoint file, or the model risctl ships.

        `device` is `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda` or `mps`. Raises `CheckpointError` if there is no
        usable checkpoint, `MachineError` if the device is absent, `UsageError` if `threshold` or `no_target_threshold`
        is out of range.
        """
        return cls(
            load_checkpoint(path, pick_device(device)), threshold=threshold, no_target_threshold=no_target_threshold
        )

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.system.parameters()).device

    def predict(self, image: Source, texts: str | Sequence[str]) -> list[Prediction]:
        """Return one prediction a text, in their order; the picture is encoded once.

        `image` is a path, encoded bytes, a PIL image or an array (see `risctl.vision.images`); masks are of the
        picture as a viewer shows it (EXIF orientation applied). The picture stays in hand for `ask`. Raises `DataError`
        for a picture that cannot be read, `UsageError` for no text, or a text without a word.
        """
        words = self._words(texts)
        self.set_image(image)
        return list(self._answers(words))

    @torch.inference_mode()
    def set_image(self, image: Source) -> None:
        """Read and encode a picture for `ask`. Raises `DataError` if it cannot be read; the one in hand then stays."""
        pixels = read_image(image)
        prepared, geometry = self.system.preprocess.image(pixels)
        features = self.system.encode_image(
            prepared[None].to(self.device), geometry.padding()[None].to(self.device, torch.bool)
        )
        self._encoded = _Encoded(pixels=pixels, geometry=geometry, features=features)

    def ask(self, texts: str | Sequence[str]) -> list[Prediction]:
        """Return one prediction a text about the picture in hand. Raises `UsageError` as `predict`, and if there is
        no picture yet."""
        return list(self.answers(texts))

    def answers(self, texts: str | Sequence[str]) -> Iterator[Prediction]:
        """Yield what `ask` returns, one at a time: of a large picture, hundreds of answers need not fit in memory."""
        return self._answers(self._words(texts))

    @torch.inference_mode()
    def find(self, names: Sequence[str], *, score: float = 0.05) -> list[Detection]:
        """Return the things of the classes `names` in the picture in hand whose score is above `score`, best first.

        Raises `UsageError` if there is no picture yet, the model answers phrases only, or it does not know a name.
        """
        if self._encoded is None:
            raise UsageError("no picture in hand: call set_image(image) first")
        detector = as_detector(self.system)
        return detector.detect(self._encoded.features, [names], geometry=self._encoded.geometry, min_score=score)

    def forget(self) -> None:
        """Let go of the picture in hand and its memory."""
        self._encoded = None

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of `text` that the model did not see in training, each once, in order."""
        return self._loaded.vocabulary.unknown(text)

    def remarks(self, text: str) -> list[str]:
        """Return what a person should know about how `text` is read: unknown words, words beyond the model's limit."""
        remarks = []
        unknown, words = self.unknown_words(text), words_of(text)
        if unknown:
            remarks.append(f"not among the words of its training: {', '.join(map(repr, unknown))}")
        _, mask = self.system.preprocess.text(text)
        ids_per_word = self.system.grounding_spec.ids_per_word if isinstance(self.system, BoxGrounder) else 1
        read = int(mask.sum()) // ids_per_word
        if read < len(words) and bool(mask.all()):
            remarks.append(f"only the first {read} of {len(words)} words are read")
        return remarks

    def describe(self) -> str:
        """Return one line: the model, its size, its checkpoint, where it computes, at which threshold."""
        count = sum(parameter.numel() for parameter in self.system.parameters())
        step = self._loaded.header.get("step")
        parts = [
            f"{self._loaded.recipe.name} ({self._loaded.recipe.model.system})",
            f"{count / 1e6:.1f} M parameters",
            f"{self.path}" + (f" at step {step}" if step is not None else ""),
            device_name(self.device),
            f"mask where probability > {self.threshold:g}",
        ]
        return ", ".join(parts)

    def _words(self, texts: str | Sequence[str]) -> list[tuple[str, Tensor, Tensor]]:
        """Return (text, word ids, word mask) of every text; all are checked before anything is computed."""
        listed = [texts] if isinstance(texts, str) else list(texts)
        if not listed:
            raise UsageError("expected at least one text, got none; say what to look for")
        for text in listed:
            if not isinstance(text, str):
                raise UsageError(f"a text is a string; got {text!r}")
        return [(text, *self.system.preprocess.text(text)) for text in listed]

    def _answers(self, words: Sequence[tuple[str, Tensor, Tensor]]) -> Iterator[Prediction]:
        encoded = self._encoded
        if encoded is None:
            raise UsageError("no picture in hand: call set_image(image) or predict(image, texts) first")
        return self._decoded(encoded, words)

    def _decoded(self, encoded: _Encoded, words: Sequence[tuple[str, Tensor, Tensor]]) -> Iterator[Prediction]:
        batch = self._loaded.recipe.eval.text_batch
        for start in range(0, len(words), batch):
            some = words[start : start + batch]
            # Not around the whole loop: a generator must not leave the mode on between two answers.
            with torch.inference_mode():
                text = self.system.encode_text(
                    torch.stack([ids for _, ids, _ in some]).to(self.device),
                    torch.stack([mask for _, _, mask in some]).to(self.device),
                )
                same = torch.zeros(len(some), dtype=torch.int64, device=self.device)
                output = self.system.decode(encoded.features.select(same), text)
            for row, (phrase, _, _) in enumerate(some):
                # One at a time: probabilities are of the picture's size, which may be a hundred times the output's.
                [prediction] = self.system.predict(
                    _row(output, row), geometries=[encoded.geometry], texts=[phrase], threshold=self.threshold
                )
                yield replace(prediction, image=encoded.pixels)


def _row(output: Output, row: int) -> Output:
    """Return one row of `output`, without what only a loss needs."""
    return Output(
        logits=output.logits[row : row + 1],
        scores=None if output.scores is None else output.scores[row : row + 1],
        boxes=None if output.boxes is None else output.boxes[row : row + 1],
        maps={name: values[row : row + 1] for name, values in output.maps.items()},
    )
