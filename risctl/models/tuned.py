"""Opens the model that a run fine-tuned as the library's own, so that it takes its place in a pipeline: RUN+sam2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from risctl.checkpoints.loaded_model import LoadedModel, load_checkpoint
from risctl.systems.transformers.config import TransformersModel
from risctl.systems.transformers.folder import open_part, processor_folder
from risctl.systems.transformers.model import FineTuned


class TunedRun:
    """A run of system transformers, with the attributes and methods of `Pretrained` that opening a model takes.

    Attributes:
        kind: Its `model_type`.
        architectures: Empty: the kind alone says what opens it.
    """

    architectures: tuple[str, ...] = ()

    def __init__(self, loaded: LoadedModel, section: TransformersModel) -> None:
        """Takes a checkpoint that was opened, and the `model` section of its recipe."""
        self._loaded, self._section = loaded, section
        self.kind = str((section.config or {}).get("model_type"))

    @property
    def parameters(self) -> int:
        """How many parameters it has, its adapters among them."""
        return sum(value.numel() for value in self._loaded.system.parameters())

    def model(self, of: Any) -> Any:
        """Returns the model, its adapters merged."""
        del of
        assert isinstance(self._loaded.system, FineTuned)
        return self._loaded.system.plain_network()

    def part(self, of: Any, **settings: Any) -> Any:
        """Returns its processor, by a class of transformers; none that can be fine-tuned takes settings."""
        del settings
        section = self._section
        with processor_folder(section.config or {}, section.files or {}, self._loaded.vocabulary) as folder:
            return open_part(folder, of)


def tuned_run(source: str) -> TunedRun | None:
    """Returns the run of system transformers in a folder; None for a folder of any other kind, and for a hub id.

    Raises:
        CheckpointError: Its checkpoint cannot be read.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir() or (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        return None
    loaded = load_checkpoint(folder)
    section = loaded.recipe.model
    return TunedRun(loaded, section) if isinstance(section, TransformersModel) else None
