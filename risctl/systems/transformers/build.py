"""Builds a model of transformers that is fine-tuned from the `model` section of a recipe."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from risctl.language.vocabulary import Vocabulary
from risctl.systems.transformers.config import TransformersModel
from risctl.systems.transformers.families import Family, family_of
from risctl.systems.transformers.folder import build_model, open_model, open_part, processor_folder, read_settings
from risctl.systems.transformers.lora import add_adapters, layers_for
from risctl.systems.transformers.model import FineTuned
from risctl.systems.transformers.preprocess import ProcessorPreprocess


def build_transformers(
    model: TransformersModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool
) -> FineTuned:
    """Builds the system of a `model` section; arguments as in `risctl.systems.registry.build_system`."""
    from transformers import AutoImageProcessor

    del vectors
    config, files = (model.config, model.files) if model.config and model.files else read_settings(model.source)
    family = family_of(str(config.get("model_type")), source=model.source)
    on_meta = torch.get_default_device().type == "meta"
    network = build_model(config, source=model.source) if on_meta or not pretrained else open_model(model.source)
    # Some tensors of the library's models are made on the CPU whatever the device.
    network = network.to("meta" if on_meta else "cpu", torch.float32)
    frozen = frozen_parts(model, family, network)
    if model.lora is not None:
        add_adapters(network, model.lora, layers=adapted_layers(model, family, network))
    with torch.device("cpu"), processor_folder(config, files, None) as folder:
        processor = open_part(folder, AutoImageProcessor)
    return FineTuned(
        preprocess=ProcessorPreprocess(
            processor,
            vocabulary=vocabulary,
            max_words=family.max_tokens(network.config),
            caption=family.caption,
        ),
        network=network,
        family=family,
        frozen=frozen,
        min_score=family.min_score if model.min_score is None else model.min_score,
        adapted=model.lora is not None,
    )


def frozen_parts(model: TransformersModel, family: Family, network: Any) -> tuple[str, ...]:
    """Returns what the names of parameters begin with that do not train."""
    named = {"visual": family.visual, "text": family.text}
    return (*(prefix for part in model.frozen for prefix in named[part]), *family.unused(network))


def adapted_layers(model: TransformersModel, family: Family, network: Any) -> list[str]:
    """Returns the names of the linear layers of a model without adapters that get one.

    Raises:
        RecipeError: There is no such layer.
    """
    assert model.lora is not None
    ends = model.lora.layers or family.attention
    return layers_for(network, ends=ends, outside=frozen_parts(model, family, network))
