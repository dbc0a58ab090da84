"""Lists the systems that a recipe can name, and builds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from risctl.errors import UsageError, unknown_name
from risctl.section import ModelSection

if TYPE_CHECKING:  # reading a recipe must not import torch
    import numpy as np

    from risctl.language.vocabulary import Vocabulary
    from risctl.systems.base import System


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemEntry:
    """Where the parts of a system are, each as `module:name`; a part is imported when it is needed.

    Attributes:
        config: The system's `ModelSection`, whose field `system` is a literal of the system's name.
        build: The function `build(model, vocabulary, vectors, pretrained) -> System`; see `build_system`.
    """

    config: str
    build: str


SYSTEMS: dict[str, SystemEntry] = {
    "vlt": SystemEntry(config="risctl.systems.vlt.config:VLTModel", build="risctl.systems.vlt.build:build_vlt"),
    "step": SystemEntry(config="risctl.systems.step.config:StepModel", build="risctl.systems.step.build:build_step"),
    "referformer": SystemEntry(
        config="risctl.systems.referformer.config:ReferFormerModel",
        build="risctl.systems.referformer.build:build_referformer",
    ),
    "lavt": SystemEntry(config="risctl.systems.lavt.config:LAVTModel", build="risctl.systems.lavt.build:build_lavt"),
    "rela": SystemEntry(config="risctl.systems.rela.config:ReLAModel", build="risctl.systems.rela.build:build_rela"),
    "cris": SystemEntry(config="risctl.systems.cris.config:CRISModel", build="risctl.systems.cris.build:build_cris"),
    "zsi": SystemEntry(config="risctl.systems.zsi.config:ZSIModel", build="risctl.systems.zsi.build:build_zsi"),
    "transformers": SystemEntry(
        config="risctl.systems.transformers.config:TransformersModel",
        build="risctl.systems.transformers.build:build_transformers",
    ),
    "mini": SystemEntry(config="risctl.systems.mini.config:MiniModel", build="risctl.systems.mini.build:build_mini"),
}
"""The systems by name. A program may add its own entry; an installed package adds one through the entry-point group
`risctl.systems`, whose entries point to a `SystemEntry`."""


def known_systems(*, installed: bool = True) -> dict[str, SystemEntry]:
    """Returns all systems by name.

    Args:
        installed: Whether to look for those of installed packages, which takes some 50 ms the first time; if not, they
            are there only once they were looked for.
    """
    looked_for = installed or _installed.cache_info().currsize
    return {**_installed(), **SYSTEMS} if looked_for else dict(SYSTEMS)


def config_class(name: str) -> type[ModelSection]:
    """Returns the class of the `model` section of the system `name`. Raises `UsageError` if there is no such system."""
    section: type[ModelSection] = _part(_entry(name).config)
    return section


def build_system(
    model: ModelSection,
    *,
    vocabulary: Vocabulary,
    vectors: np.ndarray | None = None,
    pretrained: bool = True,
) -> System:
    """Builds the system that a recipe's `model` section describes. On the meta device nothing is read.

    Args:
        model: The section.
        vocabulary: The words that the system knows.
        vectors: float32 of shape (len(vocabulary), dim), what `model.text.vectors` holds for the vocabulary. Without
            them words have zero vectors where published ones are asked for, to be filled by a checkpoint.
        pretrained: Whether to read `model.visual.weights`; False where a checkpoint follows.

    Raises:
        UsageError: For an unknown system, or vectors of another shape.
        CheckpointError: For weights of another backbone.
    """
    build: Callable[..., System] = _part(_entry(model.system).build)
    return build(model, vocabulary, vectors, pretrained)


def _entry(name: str) -> SystemEntry:
    systems = known_systems(installed=name not in SYSTEMS)
    if name not in systems:
        raise UsageError(unknown_name("system", name, systems))
    return systems[name]


@cache
def _installed() -> dict[str, SystemEntry]:
    return {entry_point.name: entry_point.load() for entry_point in entry_points(group="risctl.systems")}


def _part(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)
