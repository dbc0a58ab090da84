"""Tiny image-text models with random weights, as folders in Hugging Face's layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from helpers.tiny_clip import WORDS
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

_TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
_NAMES = ["<s>", "<pad>", "</s>", "<unk>"]
_VOCABULARY = len(_NAMES) + len(WORDS)
_EYE = {**_TOWER, "image_size": 32, "patch_size": 8}
_BERT = {**_TOWER, "vocab_size": _VOCABULARY, "max_position_embeddings": 20, "pad_token_id": 1, "type_vocab_size": 2}


def _siglip() -> Any:
    text = {**_TOWER, "vocab_size": _VOCABULARY, "max_position_embeddings": 16, "projection_size": 16}
    return tf.SiglipModel(tf.SiglipConfig(text_config=text, vision_config=_EYE))


def _siglip2() -> Any:
    text = {**_TOWER, "vocab_size": _VOCABULARY, "max_position_embeddings": 16, "projection_size": 16}
    vision = {**_TOWER, "num_patches": 16, "patch_size": 8}
    return tf.Siglip2Model(tf.Siglip2Config(text_config=text, vision_config=vision))


def _metaclip_2() -> Any:
    text = {
        **_TOWER, "vocab_size": _VOCABULARY, "max_position_embeddings": 16, "bos_token_id": 0, "pad_token_id": 1,
        "eos_token_id": 2,
    }  # fmt: skip
    return tf.MetaClip2Model(tf.MetaClip2Config(text_config=text, vision_config=_EYE, projection_dim=12))


def _altclip() -> Any:
    text = {**_BERT, "project_dim": 16}
    return tf.AltCLIPModel(tf.AltCLIPConfig(text_config=text, vision_config=_EYE, projection_dim=12))


def _chinese_clip() -> Any:
    return tf.ChineseCLIPModel(tf.ChineseCLIPConfig(text_config=_BERT, vision_config=_EYE, projection_dim=12))


def _align() -> Any:
    vision = {
        "image_size": 32, "kernel_sizes": [3], "in_channels": [8], "out_channels": [8], "hidden_dim": 8,
        "strides": [1], "num_block_repeats": [1], "expand_ratios": [1], "depthwise_padding": [],
    }  # fmt: skip
    return tf.AlignModel(tf.AlignConfig(text_config=_BERT, vision_config=vision, projection_dim=16))


MASKED: dict[str, Callable[[], Any]] = {
    "siglip": _siglip,
    "metaclip_2": _metaclip_2,
    "altclip": _altclip,
    "chinese_clip": _chinese_clip,
}
REFUSED: dict[str, Callable[[], Any]] = {"siglip2": _siglip2, "align": _align}


def write_image_text(folder: Path, kind: str) -> Path:
    """Write a model of `MASKED` or `REFUSED`; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = {**MASKED, **REFUSED}[kind]()
        for value in model.parameters():
            if value.ndim > 1:
                torch.nn.init.normal_(value, std=0.3)  # drawn as small as usual, all images and texts would be alike
    model.save_pretrained(folder)
    words = {word: number for number, word in enumerate((*_NAMES, *WORDS))}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokens = tf.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        model_max_length=16,
    )  # fmt: skip
    tokens.save_pretrained(folder)
    tf.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
