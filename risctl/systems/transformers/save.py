"""Writes a fine-tuned model as a folder that plain transformers opens."""

from __future__ import annotations

from pathlib import Path

from risctl.data.download.pretrained import quietly
from risctl.errors import UsageError
from risctl.files import new_folder
from risctl.language.vocabulary import Vocabulary
from risctl.section import ModelSection
from risctl.systems.base import System
from risctl.systems.transformers.build import adapted_layers
from risctl.systems.transformers.config import TransformersModel
from risctl.systems.transformers.folder import build_model, write_settings
from risctl.systems.transformers.lora import save_adapters
from risctl.systems.transformers.model import FineTuned

ADAPTER = "adapter"
"""The folder of the adapters, in peft's form, within that of the model."""


def save_folder(out: Path, *, system: System, section: ModelSection, vocabulary: Vocabulary) -> list[Path]:
    """Writes a model into the new folder `out`, whole or not at all: `from_pretrained` opens it.

    Args:
        out: The folder. It holds the weights with the adapters merged, the configuration, the processor and the
            tokenizer; with adapters, these too, in `adapter/`, for `PeftModel.from_pretrained`.
        system: The system.
        section: The `model` section of its recipe.
        vocabulary: Its tokenizer.

    Returns:
        The files.

    Raises:
        UsageError: The folder is there already, or the system is none of transformers.
        MachineError: The disk refuses, or peft is not installed.
    """
    if not isinstance(system, FineTuned) or not isinstance(section, TransformersModel):
        raise UsageError(
            f"expected a run of system transformers, whose models plain transformers opens; this is {section.system}"
        )
    if out.exists():
        raise UsageError(f"{out} is there already; give another --out")
    with new_folder(out) as made:
        with quietly():
            system.plain_network().save_pretrained(str(made))
        # The library's own form of the configuration names the class that opens it; the rest is as it was read.
        settings = made / "config.json"
        written = settings.read_text(encoding="utf-8")
        write_settings(made, section.config or {}, section.files or {}, vocabulary)
        settings.write_text(written, encoding="utf-8")
        if section.lora is not None:
            (made / ADAPTER).mkdir()
            plain = build_model(section.config or {}, source=section.source)
            layers = adapted_layers(section, system.family, plain)
            save_adapters(system.network, section.lora, layers=layers, source=section.source, folder=made / ADAPTER)
    return sorted(path for path in out.rglob("*") if path.is_file())
