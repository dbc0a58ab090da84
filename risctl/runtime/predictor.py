"""Predicts the masks of phrases with an exported model, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import CheckpointError, MachineError, UsageError
from risctl.results import Prediction
from risctl.runtime.inputs import IMAGES, Laid
from risctl.runtime.manifest import ANSWER, ENCODE, Manifest, read_manifest
from risctl.runtime.tokens import TEXTS, text_kind
from risctl.vision import rle
from risctl.vision.image_inputs import ImageInput, read_input

_TEXT_BATCH = 16


class OnnxPredictor:
    """Predicts the masks of phrases in images, without torch.

    Attributes:
        path: The exported model's folder, or the file of its weights where they stand apart.
        threshold: A pixel belongs to the mask if its probability is above it.
        no_target_threshold: A phrase whose score is below it gets an empty mask.

    Example:
        >>> predictor = OnnxPredictor("mini.onnx")
        >>> cup, plate = predictor.predict("table.jpg", ["the red cup", "the plate behind it"])
    """

    in_clips = False
    """Whether the graphs take the frames of clips."""

    def __init__(
        self,
        folder: str | Path,
        *,
        threshold: float | None = None,
        no_target_threshold: float | None = None,
        threads: int = 0,
    ) -> None:
        """Opens an exported model; its graphs are read while the caller goes on.

        Args:
            folder: What `risctl export` wrote.
            threshold: In [0, 1), in place of the model's own.
            no_target_threshold: In [0, 1], in place of the model's own; 0 gives every phrase a mask.
            threads: Threads of ONNX Runtime; 0: as many as it takes by itself.

        Raises:
            CheckpointError: The folder holds no usable model.
            MachineError: onnxruntime is missing.
            UsageError: A threshold is out of range, or this runtime cannot prepare the model's inputs.
        """
        if threshold is not None and not 0 <= threshold < 1:
            raise UsageError(f"a threshold is a probability in [0, 1); got {threshold}")
        if no_target_threshold is not None and not 0 <= no_target_threshold <= 1:
            raise UsageError(f"expected a no-target threshold between 0 and 1, got {no_target_threshold:g}")
        self.manifest: Manifest = read_manifest(Path(folder))
        # Graphs whose weights are a checkpoint's are that model: records name it, whatever computes it.
        self.path = self.manifest.weights_path or self.manifest.folder
        _check_known(self.manifest, in_clips=self.in_clips)
        self.threshold = self.manifest.threshold if threshold is None else threshold
        own = self.manifest.no_target_threshold
        self.no_target_threshold = own if no_target_threshold is None else no_target_threshold
        self._prepare = IMAGES[str(self.manifest.image["kind"])]
        self._tokens = TEXTS[text_kind(self.manifest.text)](self.manifest.vocabulary(), self.manifest.text)
        self._sessions = _open_both(self.manifest, threads=threads)
        self._pixels: np.ndarray | None = None
        self._laid: Laid | None = None
        self._features: dict[str, np.ndarray] = {}

    def predict(self, image: ImageInput, texts: str | Sequence[str]) -> list[Prediction]:
        """Predicts one mask per phrase; the image stays set for `predict_texts`.

        Args:
            image: An image in any form that `risctl.vision.image_inputs.read_input` takes.
            texts: One phrase or several.

        Raises:
            DataError: The image cannot be read.
            UsageError: There is no phrase, or a phrase has no word.
        """
        tokens = self._tokenized(texts)
        self.set_image(image)
        return list(self._answers(tokens))

    def set_image(self, image: ImageInput) -> None:
        """Reads and encodes an image.

        Raises:
            DataError: It cannot be read. The image that was set before then stays.
        """
        pixels = read_input(image)
        self.set_encoded(self._encoded(self.prepare_image(pixels)), pixels)

    @property
    def takes_clips(self) -> bool:
        """Whether it sees several frames of a video at once."""
        return False

    @property
    def forks(self) -> bool:
        """Whether it may compute in forked processes: the threads of ONNX Runtime do not outlive a fork."""
        return False

    def prepare_image(self, pixels: np.ndarray) -> Laid:
        """Makes an RGB image, uint8 (H, W, 3), ready to be encoded; from any thread."""
        return self._prepare(pixels, self.manifest.image)

    def encode_images(self, images: Sequence[Laid]) -> list[tuple[dict[str, np.ndarray], Laid]]:
        """Encodes images, one by one and in their order, for `set_encoded`."""
        return [self._encoded(laid) for laid in images]

    def set_encoded(self, encoded: tuple[dict[str, np.ndarray], Laid], pixels: np.ndarray) -> None:
        """Sets an image that `encode_images` gave, as `set_image` does."""
        (self._features, self._laid), self._pixels = encoded, pixels

    def _encoded(self, laid: Laid) -> tuple[dict[str, np.ndarray], Laid]:
        graph = self.manifest.graphs[ENCODE]
        outputs = self._run(ENCODE, {"images": laid.images, "padding": laid.padding})
        return dict(zip(graph.outputs, outputs, strict=True)), laid

    def reset_image(self) -> None:
        """Lets go of the image that is set, and of its memory."""
        self._pixels = self._laid = None
        self._features = {}

    def predict_texts(self, texts: str | Sequence[str]) -> list[Prediction]:
        """Predicts one mask per phrase in the image that is set.

        Raises:
            UsageError: No image is set, there is no phrase, or a phrase has no word.
        """
        return list(self.iter_predictions(texts))

    def iter_predictions(self, texts: str | Sequence[str]) -> Iterator[Prediction]:
        """Yields what `predict_texts` returns, one by one."""
        return self._answers(self._tokenized(texts))

    def warnings(self, text: str) -> list[str]:
        """Returns what to know about how `text` is read: unknown words, and words beyond the model's limit.

        Raises:
            UsageError: The text has no word.
        """
        warnings = self._tokens.warnings(text)
        self._tokens(text)
        return warnings

    def describe(self) -> str:
        """Returns one line: the model, its size, its folder, the runtime and its threshold."""
        import onnxruntime

        parts = [
            f"{self.manifest.name} ({self.manifest.system})",
            f"{self.manifest.parameters / 1e6:.1f} M parameters",
            str(self.path),
            f"CPU, ONNX Runtime {onnxruntime.__version__}",
            f"mask where probability > {self.threshold:g}",
        ]
        return ", ".join(parts)

    def _tokenized(self, texts: str | Sequence[str]) -> list[tuple[str, tuple[np.ndarray, np.ndarray]]]:
        phrases = [texts] if isinstance(texts, str) else list(texts)
        if not phrases:
            raise UsageError("expected at least one phrase, got none; say what to look for")
        for text in phrases:
            if not isinstance(text, str):
                raise UsageError(f"expected a phrase as a string, got {text!r}")
        return [(text, self._tokens(text)) for text in phrases]

    def _answers(self, tokens: Sequence[tuple[str, tuple[np.ndarray, np.ndarray]]]) -> Iterator[Prediction]:
        laid = self._image_set()
        for start in range(0, len(tokens), _TEXT_BATCH):
            texts, ids = zip(*tokens[start : start + _TEXT_BATCH], strict=True)
            feed = {
                **self._features,
                "padding": laid.padding,
                "image_of": np.zeros(len(texts), dtype=np.int64),
                "words": np.stack([one for one, _ in ids]),
                "word_mask": np.stack([mask for _, mask in ids]),
            }
            logits, *scores = self._run(ANSWER, feed)
            for row, text in enumerate(texts):
                probability = sigmoid(logits[row])
                yield self._prediction(text, laid, probability, score=float(scores[0][row]) if scores else None)

    def _image_set(self) -> Laid:
        """Returns the image that is set, in its input; raises `UsageError` if none is."""
        if self._laid is None:
            raise UsageError("no image is set: call set_image(image) or predict(image, texts) first")
        return self._laid

    def _prediction(
        self, text: str, laid: Laid, maps: np.ndarray, *, score: float | None, logits: bool = False
    ) -> Prediction:
        """Returns the prediction of a map of the input: probabilities, or logits that are resized as such."""
        matched = score is None or score >= self.no_target_threshold
        if matched:
            probability = laid.restore(maps)
            probability = sigmoid(probability) if logits else probability
        else:
            probability = np.zeros((laid.height, laid.width), dtype=np.float32)
        mask = probability > self.threshold
        if score is None:
            score = float(probability[mask].mean()) if mask.any() else 0.0
        return Prediction(
            text=text,
            probability=probability,
            threshold=self.threshold,
            score=score,
            box=rle.box(rle.encode(mask)) if mask.any() else None,
            matched=matched,
            image=self._pixels,
        )

    def _run(self, name: str, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        session = self._sessions[name].result()
        read = {one.name for one in session.get_inputs()}
        outputs: list[np.ndarray] = session.run(None, {key: value for key, value in feed.items() if key in read})
        return outputs


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities, float32, of logits."""
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float32))))


def _check_known(manifest: Manifest, *, in_clips: bool) -> None:
    """Raises `UsageError` if this runtime cannot run a model."""
    if manifest.graph_format != "onnx":
        raise UsageError(
            f"{manifest.folder} holds {manifest.graph_format} graphs, which torch runs; export the model with "
            "--format onnx"
        )
    if ("clip" in manifest.header) != in_clips:
        of = "images" if in_clips else "videos: risctl.runtime.clip_predictor opens it"
        raise UsageError(f"{manifest.folder} holds a model of {of}")
    for kind, known in ((manifest.image.get("kind"), IMAGES), (text_kind(manifest.text), TEXTS)):
        if kind not in known:
            raise UsageError(
                f"{manifest.folder} is of {manifest.system}, whose inputs ({kind}) this runtime does not prepare; it "
                f"knows {', '.join(known)}. Predict with the checkpoint"
            )


def _open_both(manifest: Manifest, *, threads: int) -> dict[str, Future[Any]]:
    """Begins to open both graphs, each in a thread of its own."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MachineError("an exported model needs onnxruntime: pip install 'risctl[onnx]'") from error

    def opened(name: str) -> Any:
        data, weights = manifest.checked(manifest.graphs[name].file), read.result()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # An image at a time needs no reserve: memory that a graph no longer uses goes back at once.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        # Two sessions share the cores: a thread that waits must not keep one busy.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            if manifest.weights is not None and weights is not None:
                options.add_external_initializers_from_files_in_memory(
                    [manifest.weights.file], [weights], [len(weights)]
                )
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has classes of its own for every failure
            reason = str(error).splitlines()[0][:200]
            raise CheckpointError(f"{manifest.path(name)} cannot be opened by ONNX Runtime: {reason}") from error

    pool = ThreadPoolExecutor(max_workers=3)
    read = pool.submit(manifest.read_weights)
    sessions = {name: pool.submit(opened, name) for name in (ENCODE, ANSWER)}
    pool.shutdown(wait=False)
    return sessions
