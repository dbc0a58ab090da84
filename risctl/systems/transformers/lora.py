"""Puts low-rank adapters (Hu et al., ICLR 2022) into a model with the library peft, merges them, and saves them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from risctl.errors import MachineError, RecipeError
from risctl.systems.transformers.config import LoRASection

_BEGIN = "base_model.model."
"""What peft's files put before the names of a model's layers."""


def add_adapters(model: nn.Module, section: LoRASection, *, layers: Sequence[str]) -> None:
    """Puts adapters beside linear layers of a model; from then on they alone train.

    Args:
        model: The model.
        section: What the recipe says of them.
        layers: The names of the layers.

    Raises:
        MachineError: peft is not installed.
    """
    peft, config = _peft(), _config(section, layers)
    with _embeddings_named(model):
        peft.inject_adapter_in_model(config, model)


def layers_for(model: nn.Module, *, ends: Sequence[str], outside: Sequence[str]) -> list[str]:
    """Returns the names of the linear layers that get an adapter.

    Args:
        model: The model.
        ends: The last parts of their names.
        outside: What their names must not begin with.

    Raises:
        RecipeError: An end is of no layer outside the frozen parts.
    """
    linear = [name for name, one in model.named_modules() if isinstance(one, nn.Linear)]
    within = [name for name in linear if not name.startswith(tuple(outside))]
    found = [name for name in within if name.rpartition(".")[2] in ends]
    if not found:
        known = sorted({name.rpartition(".")[2] for name in within})
        raise RecipeError(
            f"model.lora.layers: no linear layer outside the frozen parts ends in {', '.join(ends)}; there are "
            f"{', '.join(known) or 'none'}"
        )
    return found


def merged(model: nn.Module) -> nn.Module:
    """Returns a copy of a model whose adapters are added to the weights that they stand beside.

    Raises:
        MachineError: peft is not installed.
    """
    base = _peft().tuners.tuners_utils.BaseTunerLayer
    plain = copy.deepcopy(model).cpu()
    for name, one in list(plain.named_modules()):
        if isinstance(one, base):
            one.merge()
            parent, _, last = name.rpartition(".")
            setattr(plain.get_submodule(parent), last, one.get_base_layer())
    return plain


def save_adapters(model: nn.Module, section: LoRASection, *, layers: Sequence[str], source: str, folder: Path) -> None:
    """Writes the adapters in peft's form into a new folder: `PeftModel.from_pretrained` opens it.

    Args:
        model: The model with its adapters.
        section: What the recipe says of them.
        layers: The names of the layers that have one.
        source: The hub id or folder of the model without them.
        folder: The folder.

    Raises:
        MachineError: peft is not installed.
        OSError: The disk refuses.
    """
    from safetensors.torch import save_file

    peft = _peft()
    state = peft.get_peft_model_state_dict(model)
    tensors = {f"{_BEGIN}{name}": value.detach().cpu().contiguous() for name, value in state.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = _config(section, layers)
    config.base_model_name_or_path = source
    config.inference_mode = True
    config.save_pretrained(str(folder))


@contextmanager
def _embeddings_named(model: Any) -> Iterator[None]:
    """Lets peft ask a model for its embeddings, which those with several encoders (Grounding DINO) do not name."""
    try:
        model.get_input_embeddings()
    except NotImplementedError:
        model.get_input_embeddings = nn.Module
        try:
            yield
        finally:
            del model.get_input_embeddings
    else:
        yield


def _config(section: LoRASection, layers: Sequence[str]) -> Any:
    return _peft().LoraConfig(
        r=section.rank, lora_alpha=section.alpha, lora_dropout=section.dropout, target_modules=list(layers)
    )


def _peft() -> Any:
    try:
        import peft
        import peft.tuners.tuners_utils
    except ImportError as error:
        raise MachineError(
            "adapters (model.lora) are made by the library peft, which is not installed: pip install 'risctl[tune]'; "
            "model.lora=null trains the weights themselves"
        ) from error
    return peft
