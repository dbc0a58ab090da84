"""Reads the name of a model: one of risctl's own checkpoints, a model of transformers, or a pipeline of several."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from risctl.checkpoints.hub_checkpoint import HUB, is_own
from risctl.errors import UsageError, nearest, unknown_name
from risctl.models.registry import CHOOSER, GLOBAL_LOCAL, MODELS, OWN, TRACKERS, VIDEO, WEIGHTS

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """A model of transformers, or a pipeline of several.

    Attributes:
        name: As the person wrote it.
        sources: A folder or hub id for each part, in order, without the chooser.
        chooser: Whether mini's box selector chooses among the instances.
    """

    name: str
    sources: tuple[str, ...]
    chooser: bool

    @property
    def is_global_local(self) -> bool:
        """Whether it is Global-Local CLIP over mini's instances."""
        return self.name == GLOBAL_LOCAL


def parse_name(model: str | Path | None, *, fetch: bool = False) -> ModelName | None:
    """Returns what `model` names; None for one of risctl's own checkpoints, or what is to be read as a path to one.

    Args:
        model: `mini` or None; a checkpoint file or run folder; a name of `MODELS` or `WEIGHTS`; `hf:OWNER/NAME` with or
            without `@REVISION`; a folder in Hugging Face's layout; or several of the latter, joined by "+".
        fetch: Whether the hub is asked what `hf:OWNER/NAME` is, if its config.json is not in the cache.

    Raises:
        UsageError: The name is nearly a known one, a part of a pipeline is unknown, or the name is put together
            wrongly.
    """
    text = OWN if model is None else str(model)
    path = Path(text).expanduser()
    if path.exists():
        hugging_face = path.is_dir() and (path / "config.json").is_file()
        return ModelName(name=text, sources=(str(path),), chooser=False) if hugging_face else None
    if text == OWN or not text:
        return None
    if text in MODELS:
        return _pipeline(text, list(text.split("+")) if text != GLOBAL_LOCAL else ["clip"])
    parts = _split(text)
    if len(parts) == 1 and text.startswith(HUB) and is_own(text.removeprefix(HUB), fetch=fetch):
        return None
    if len(parts) == 1 and not text.startswith(HUB) and text not in WEIGHTS:
        meant = None if "/" in text else nearest(text, (*MODELS, *WEIGHTS))
        if meant not in (None, OWN):
            raise UsageError(
                f"no model, run folder or checkpoint file {text!r}; did you mean {meant!r}? `risctl models ls` "
                "lists the names"
            )
        return None
    return _pipeline(text, parts)


def images_only(name: str, what: str) -> str:
    """Returns the message for what a model of transformers cannot do, with the models that can.

    Args:
        name: The model.
        what: What was asked for: "a video", "the protocol zsi", ….
    """
    able = ", ".join(one for one, entry in MODELS.items() if VIDEO in entry.can)
    tracked = (
        f"; or let {name} find the objects in the first frame and a tracker carry them on: --tracker {TRACKERS[0]}"
        if "video" in what
        else ""
    )
    return f"{name} answers phrases in images; {what} takes {able}, a run folder or a checkpoint of risctl{tracked}"


def _split(text: str) -> list[str]:
    """Returns the parts of a pipeline; a "+" within the path of a folder that is there does not divide it."""
    parts: list[str] = []
    for piece in text.split("+"):
        joined = f"{parts[-1]}+{piece}" if parts else piece
        if parts and not Path(parts[-1]).expanduser().exists() and Path(joined).expanduser().is_dir():
            parts[-1] = joined
        else:
            parts.append(piece)
    return parts


def _pipeline(name: str, parts: list[str]) -> ModelName:
    chooser = len(parts) > 1 and parts[-1] == CHOOSER
    parts = parts[:-1] if chooser else parts
    if CHOOSER in parts:
        raise UsageError(f"{name!r}: {CHOOSER} comes last, after what finds the instances: rf-detr+sam2+{CHOOSER}")
    if len(parts) > 2:
        raise UsageError(
            f"{name!r} has {len(parts)} parts; a pipeline is what finds, what segments boxes, and {CHOOSER}, such as "
            f"rf-detr+sam2+{CHOOSER}"
        )
    return ModelName(name=name, sources=tuple(_source(part, of=name) for part in parts), chooser=chooser)


def _source(part: str, *, of: str) -> str:
    """Returns the folder or hub id that a part stands for."""
    folder = Path(part).expanduser()
    if part and (folder / "config.json").is_file():
        return str(folder)  # before a name of ours, as for a folder alone
    if part in WEIGHTS:
        return WEIGHTS[part].repository
    if part.startswith(HUB):
        identity = part.removeprefix(HUB)
        if _HUB_ID.fullmatch(identity) is None:
            raise UsageError(f"expected {HUB}OWNER/NAME or {HUB}OWNER/NAME@REVISION, got {part!r}")
        return identity
    if part and folder.is_dir():
        return str(folder)
    where = "" if part == of else f" in {of!r}"
    raise UsageError(
        f"{unknown_name('model', part, (*WEIGHTS, OWN))}{where}; or {HUB}OWNER/NAME, or a folder with config.json"
    )
