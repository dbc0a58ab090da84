"""Reads and writes `model.json`, which says all that a program must know of an exported model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.errors import CheckpointError, UsageError
from risctl.json_text import parse_object

MANIFEST = "model.json"
VOCABULARY = "vocabulary.json"
ENCODE, ANSWER = "encode", "answer"
FORMAT = "risctl-export"
CLIP_TOWERS = "clip"
"""The `kind` of a folder with the towers of a CLIP; models that draw masks state none."""

VERSION = 1
_MOST_BYTES = {MANIFEST: 1_000_000, VOCABULARY: 64_000_000}
_LARGEST_SIDE = 8192
_LARGEST_WEIGHTS = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One graph of an exported model.

    Attributes:
        file: Its file's name in the folder.
        inputs: Names of its inputs, in their order.
        outputs: Names of its outputs, in their order.
    """

    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The file that graphs read their weights from.

    Attributes:
        file: Its name, in the folder or the one around it.
        sha256: Its digest.
    """

    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An exported model's description, checked.

    Attributes:
        folder: Where it stands.
        name: The recipe's name.
        system: The system's name.
        graph_format: onnx, pt2 or torchscript.
        graphs: The graphs by name: `ENCODE` and `ANSWER`.
        image: How an image becomes the input: its `kind` and that kind's numbers.
        text: How a text becomes tokens: its `kind` and that kind's numbers.
        threshold: A pixel is in the mask if its probability is above it.
        no_target_threshold: Score below which the answer is "none".
        parameters: How many numbers the model has learned.
        digest: SHA-256 of the folder's files by name.
        weights: The file that the graphs read their weights from, and its SHA-256; None: they hold them.
        header: The whole description.
    """

    folder: Path
    name: str
    system: str
    graph_format: str
    graphs: Mapping[str, Graph]
    image: Mapping[str, Any]
    text: Mapping[str, Any]
    threshold: float
    no_target_threshold: float
    parameters: int
    digest: Mapping[str, str]
    weights: Weights | None
    header: Mapping[str, Any]

    def path(self, name: str) -> Path:
        """Returns the file of the graph `name`."""
        return self.folder / self.graphs[name].file

    @property
    def weights_path(self) -> Path | None:
        """The file that the graphs read their weights from: in the folder, else beside it. None: they hold them."""
        if self.weights is None:
            return None
        inside = self.folder / self.weights.file
        return inside if inside.is_file() else self.folder.parent / self.weights.file

    def read_weights(self) -> bytes | None:
        """Returns the content of `weights_path`.

        Raises:
            CheckpointError: The file is missing, or the graphs were made from another one.
        """
        path = self.weights_path
        if path is None or self.weights is None:
            return None
        data = _read(path, most=_LARGEST_WEIGHTS)
        if hashlib.sha256(data).hexdigest() != self.weights.sha256:
            raise CheckpointError(f"the graphs in {self.folder} were made from other weights than those in {path}")
        return data

    def vocabulary(self) -> list[str]:
        """Returns the tokenizer's data, as a checkpoint has it.

        Raises:
            CheckpointError: The file is missing or differs from its digest.
        """
        words = json.loads(self.checked(VOCABULARY))
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise CheckpointError(f"{self.folder / VOCABULARY} is damaged: it is no list of strings")
        return words

    def checked(self, name: str) -> bytes:
        """Returns the content of a file of the folder that has a digest, compared with it.

        Raises:
            CheckpointError: The file is missing, or another one than was exported.
        """
        data = _read(self.folder / name, most=_MOST_BYTES.get(name))
        if hashlib.sha256(data).hexdigest() != self.digest.get(name):
            raise CheckpointError(
                f"{self.folder / name} is damaged: it differs from its digest; export the model again"
            )
        return data


def is_exported(path: Path) -> bool:
    """Returns whether `path` is the folder of an exported model."""
    return (path / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Reads the description of an exported model.

    Raises:
        CheckpointError: It is missing, damaged, or of a newer version.
        UsageError: The folder holds no model that draws masks.
    """
    path = folder / MANIFEST
    try:
        header = parse_object(_read(path, most=_MOST_BYTES[MANIFEST]), max_bytes=_MOST_BYTES[MANIFEST])
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"expected an exported model in {folder}; its {MANIFEST} is of another program")
    if header.get("format_version") != VERSION:
        raise CheckpointError(
            f"{folder} was exported by risctl {header.get('risctl')}, whose format this version cannot read; export "
            "the model again, or update risctl"
        )
    if header.get("kind") == CLIP_TOWERS:
        raise UsageError(
            f"{folder} holds the towers of a CLIP, which embed images and texts and draw no masks; its {MANIFEST} says "
            "how to run them"
        )
    try:
        return _parsed(folder, header)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {type(error).__name__} at {error}") from error


def _parsed(folder: Path, header: dict[str, Any]) -> Manifest:
    digest = {str(name): str(value) for name, value in header["sha256"].items()}
    graphs = {}
    for name in (ENCODE, ANSWER):
        entry = header["graphs"][name]
        file = str(entry["file"])
        if file not in digest or Path(file).name != file:
            raise ValueError(f"the graph {name}, whose file has no digest")
        graphs[name] = Graph(
            file=file,
            inputs=tuple(str(one["name"]) for one in entry["inputs"]),
            outputs=tuple(str(one["name"]) for one in entry["outputs"]),
        )
    image, text, output = dict(header["image"]), dict(header["text"]), header["output"]
    size = image.get("size", 1)
    if type(size) is not int or not 1 <= size <= _LARGEST_SIDE:
        raise ValueError("image.size")
    if type(text["max_words"]) is not int or not 1 <= text["max_words"] <= 100_000:
        raise ValueError("text.max_words")
    return Manifest(
        folder=folder,
        name=str(header["name"]),
        system=str(header["system"]),
        graph_format=str(header["graph_format"]),
        graphs=graphs,
        image=image,
        text=text,
        threshold=_share(output["threshold"]),
        no_target_threshold=_share(output["no_target_threshold"]),
        parameters=int(header["parameters"]),
        digest=digest,
        weights=_weights(header.get("weights")),
        header=header,
    )


def _weights(entry: Any) -> Weights | None:
    if entry is None:
        return None
    file = str(entry["file"])
    if Path(file).name != file:
        raise ValueError("weights.file")
    return Weights(file=file, sha256=str(entry["sha256"]))


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("a threshold that is not within 0 and 1")
    return float(value)


def _read(path: Path, *, most: int | None) -> bytes:
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; export the model again")
        if most is not None and path.stat().st_size > most:
            raise CheckpointError(f"{path} is damaged: {path.stat().st_size:,} bytes are too many")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
