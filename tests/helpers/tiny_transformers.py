"""Tiny vision backbones and text encoders of transformers with random weights, as folders in Hugging Face's layout."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoBackbone,
    BertConfig,
    BertModel,
    BertTokenizerFast,
    ConvNextConfig,
    Dinov2Config,
    DINOv3ViTConfig,
    PretrainedConfig,
    ResNetConfig,
    RobertaConfig,
    RobertaModel,
    SwinConfig,
)

VISUAL: dict[str, PretrainedConfig] = {
    "swin": SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, image_size=64),
    "convnext": ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]),
    "resnet": ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]),
    "dinov2": Dinov2Config(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14),
    "dinov3": DINOv3ViTConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=64
    ),
}
_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "green", "box", "left", "right", "the"]
_TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def write_visual(folder: Path, kind: str) -> Path:
    """Writes the backbone `kind`, one of `VISUAL`, and returns its folder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoBackbone.from_config(VISUAL[kind]).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    return folder


def write_text(folder: Path, kind: str = "bert") -> Path:
    """Writes the text encoder `kind` (bert, roberta) with a tokenizer of a few words, and returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "bert":
            BertModel(BertConfig(vocab_size=len(_WORDS), **_TEXT)).save_pretrained(folder)
        else:
            RobertaModel(RobertaConfig(vocab_size=len(_WORDS), **_TEXT)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(_WORDS))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
