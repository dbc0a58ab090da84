"""States what is known of a model: its task, size, licence, what it can, and whether it is on this machine."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from risctl.models.names import ModelName, parse_name
from risctl.models.registry import CLASSES, MODELS, NO_MATCH, OWN, PLURAL, VIDEO, WEIGHTS, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """What is known of one part of a model.

    Attributes:
        source: Its folder, hub id or checkpoint.
        title: Its name in print.
        task: What it does.
        parameters: How many, in millions; None where it is not known.
        licence: Its licence; None where it is not known.
        gated: Whether its terms must be accepted first.
        cached: Whether it is on this machine.
        size: Bytes on this machine; None where it is not here.
    """

    source: str
    title: str
    task: str
    parameters: float | None
    licence: str | None
    gated: bool
    cached: bool
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known of a model.

    Attributes:
        name: Its name.
        help: One line for a person.
        can: What it can do beside segmenting one object for a phrase; None where that is not known before it is here.
        parts: Its parts.
    """

    name: str
    help: str
    can: tuple[str, ...] | None
    parts: tuple[PartFacts, ...] = field(default=())

    @property
    def cached(self) -> bool:
        """Whether all of it is on this machine."""
        return all(part.cached for part in self.parts)

    @property
    def gated(self) -> bool:
        """Whether terms of a part must be accepted first."""
        return any(part.gated for part in self.parts)

    @property
    def parameters(self) -> float | None:
        """Millions of parameters of all parts, None where that of one is not known."""
        known = [part.parameters for part in self.parts]
        return None if None in known else math.fsum(one for one in known if one is not None)

    @property
    def size(self) -> int | None:
        """Bytes on this machine; None where nothing of it is here."""
        return (
            sum(part.size for part in self.parts if part.size is not None)
            if self.parts and any(part.size is not None for part in self.parts)
            else None
        )

    @property
    def licence(self) -> str:
        """The licences of its parts, "unknown" where one was not looked up."""
        return ", ".join(dict.fromkeys(part.licence or "unknown" for part in self.parts))

    def record(self) -> dict[str, Any]:
        """Returns all of it, ready for JSON."""
        return {
            "name": self.name,
            "help": self.help,
            "can": None if self.can is None else list(self.can),
            "parameters_millions": self.parameters,
            "licence": self.licence,
            "gated": self.gated,
            "cached": self.cached,
            "size": self.size,
            "parts": [asdict(part) for part in self.parts],
        }


def listed() -> list[ModelFacts]:
    """Returns the facts of the models that have a name."""
    return [facts_of(name) for name in MODELS]


def facts_of(model: str | Path | None) -> ModelFacts:
    """Returns the facts of a model, without a network.

    Args:
        model: As `parse_name` takes it.

    Raises:
        CheckpointError: There is no such checkpoint or run folder.
        UsageError: The name is wrong.
    """
    name = parse_name(model)
    if name is None:
        return _own(model)
    entry = MODELS.get(name.name)
    return ModelFacts(
        name=name.name,
        help="A model of transformers." if entry is None else entry.help,
        can=_can(name) if entry is None else entry.can,
        parts=tuple(_part(source) for source in name.sources),
    )


def _own(model: str | Path | None) -> ModelFacts:
    from risctl.checkpoints.loaded_model import SHIPPED, load_checkpoint
    from risctl.systems.protocols import Detector

    loaded = load_checkpoint(model)
    shipped = loaded.path == SHIPPED
    system = loaded.recipe.model.system
    no_match = (NO_MATCH,) if loaded.system.no_target_threshold > 0 else ()
    classes = (CLASSES,) if isinstance(loaded.system, Detector) else ()
    can = MODELS[OWN].can if shipped else (PLURAL, *no_match, VIDEO, *classes)
    part = PartFacts(
        source=str(loaded.path),
        title=f"{loaded.recipe.name} ({system})",
        task="text → masks",
        parameters=round(sum(value.numel() for value in loaded.system.parameters()) / 1e6, 2),
        licence="Apache-2.0" if shipped else None,
        gated=False,
        cached=True,
        size=loaded.path.stat().st_size,
    )
    text = MODELS[OWN].help if shipped else "A checkpoint of risctl."
    return ModelFacts(name=OWN if shipped else str(model), help=text, can=can, parts=(part,))


def _part(source: str) -> PartFacts:
    from risctl.models.local_copies import copy_of
    from risctl.models.tuned import tuned_run

    copy, tuned = copy_of(source), tuned_run(source)
    known: Weights | None = next((one for one in WEIGHTS.values() if one.repository == source), None)
    return PartFacts(
        source=source,
        title=source if known is None else known.title,
        task=_task(source, here=copy.is_here) if known is None else known.task,
        parameters=(
            round(tuned.parameters / 1e6, 2)
            if tuned is not None
            else _counted(copy.folder)
            if known is None
            else known.millions
        ),
        licence=None if known is None else known.licence,
        gated=False if known is None else known.gated,
        cached=copy.is_here,
        size=copy.size if copy.is_here else None,
    )


_TASKS = {
    "segments": "text → masks",
    "by phrase": "text → boxes",
    "by category": "classes → instances",
    "masks of boxes": "boxes → masks",
    "by similarity": "text, image → similarity",
}


def _task(source: str, *, here: bool) -> str:
    if not here:
        return "unknown"
    from risctl.models.open import role_of

    return _TASKS[role_of(source)[0]]


def _can(name: ModelName) -> tuple[str, ...] | None:
    from risctl.models.local_copies import copy_of
    from risctl.models.open import BY_CATEGORY, BY_SIMILARITY, role_of

    if not copy_of(name.sources[0]).is_here:
        return None
    role, kind = role_of(name.sources[0])
    if kind == "florence2" or role == BY_SIMILARITY:
        return ()
    no_match = () if kind == "clipseg" else (NO_MATCH,)
    return (PLURAL, *no_match, *((CLASSES,) if role == BY_CATEGORY else ()))


def _counted(folder: Path | None) -> float | None:
    """Returns the millions of parameters in the safetensors files of a folder, None where there are none."""
    from safetensors import safe_open

    if folder is None:
        return None
    count = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as opened:
            count += sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118
    return round(count / 1e6, 2) if count else None
