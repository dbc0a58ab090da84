"""Attacks models in Hugging Face's layout: settings, tables of tokens, and weights in their three forms.

They carry no digests. What is read is right if it is an encoder of finite numbers that its files can hold, or a
tokenizer.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoBackbone, BertConfig, BertModel, BertTokenizerFast, ConvNextConfig

from attacks.checkpoints import JSON_VALUES, NUMBERS, _cut, _flip, _number, _raw, _repacked, _stretch
from risctl.core.encoders.text.config import TextSection
from risctl.core.encoders.text.registry import build_text, read_tokenizer
from risctl.core.encoders.visual.config import VisualSection
from risctl.core.encoders.visual.registry import VisualInput, build_visual
from risctl.language.vocabulary import Vocabulary

SUITE_COUNT = 25
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "box")
KINDS = ("text", "text-zip", "text-old", "visual")
BYTES = 64 * 2**20
"""What the numbers of a model may take: the files have some kilobytes."""


def prepare(folder: Path) -> None:
    """Writes a text encoder with weights in three forms, and a backbone."""
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(
            vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    )
    for name in KINDS[:3]:
        bert.save_pretrained(folder / name)
        (folder / name / "vocab.txt").write_text("\n".join(WORDS))
        BertTokenizerFast(str(folder / name / "vocab.txt")).save_pretrained(folder / name)
    for name in KINDS[1:3]:
        weights = folder / name / "model.safetensors"
        state, packed = load_file(weights), weights.with_name("pytorch_model.bin")
        torch.save(state, packed, _use_new_zipfile_serialization=name == "text-zip")
        weights.unlink()
    config = ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1])
    AutoBackbone.from_config(config).save_pretrained(folder / "visual")
    (folder / "visual" / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')


def mutate(folder: Path, target: Path, random: Random) -> str:
    """Writes a model into `target`, one of its files mutated."""
    kind = random.choice(KINDS)
    shutil.copytree(folder / kind, target / kind)
    files = sorted(file.name for file in (target / kind).iterdir())
    path = target / kind / random.choice([*files, "config.json", "config.json"])
    data = path.read_bytes()
    own = {".json": (_value, _value, _size, _nested), ".bin": (_repacked,) if kind == "text-zip" else ()}
    chosen = random.choice((_flip, _cut, _stretch, _number, *own.get(path.suffix, ())))
    path.write_bytes(chosen(data, random))
    return f"{chosen.__name__} {kind}/{path.name}"


def check(folder: Path, target: Path) -> str:
    """Returns whether the mutated model gives an encoder of finite numbers."""
    [path] = target.iterdir()
    name = f"hf:{path}"
    encoder: nn.Module
    if path.name == "visual":
        encoder = build_visual(VisualSection(name=name).resolved(), wanted=VisualInput())
    else:
        read_tokenizer(name, str(path))
        encoder = build_text(TextSection(name=name).resolved(), Vocabulary(["red"]), channels=8)
    state = encoder.state_dict().values()
    small = sum(tensor.numel() * tensor.element_size() for tensor in state) < BYTES
    finite = all(bool(tensor.isfinite().all()) for tensor in state)
    return "right" if small and finite else "wrong"


def _replaced(data: bytes, random: Random, raw: str, *, numbers: bool = False) -> bytes:
    content = json.loads(data)
    keys = [key for key, value in content.items() if not numbers or type(value) in (int, list)]
    content[random.choice(keys or list(content) or ["new"])] = "MARK"
    return json.dumps(content).replace('"MARK"', raw).encode()


def _value(data: bytes, random: Random) -> bytes:
    """Puts a hostile value into the place of another."""
    return _replaced(data, random, _raw(random.choice(JSON_VALUES)))


def _size(data: bytes, random: Random) -> bytes:
    """Puts a hostile number, or a list of them, into the place of a number."""
    number = random.choice((*NUMBERS, 1000, 10_000, 100_000, 1_000_000))
    return _replaced(data, random, json.dumps(random.choice((number, [number] * 4))), numbers=True)


def _nested(data: bytes, random: Random) -> bytes:
    """Names other kinds of model, code of a stranger, and deep settings."""
    hostile = {
        "model_type": random.choice(("bert", "t5", "swin", "vit_mae", "sam", "../../x", "", "timm_backbone", "llama")),
        "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": "evil.Tokens"},
        "architectures": ["Evil"],
        "quantization_config": {"quant_method": random.choice(("bitsandbytes", "awq", "gptq", "evil"))},
        "torch_dtype": random.choice(("int8", "complex64", "evil", "bfloat16")),
        "tokenizer_class": random.choice(("EvilTokenizer", "LlamaTokenizer", "T5Tokenizer")),
    }
    content = json.loads(data)
    for key in random.sample(sorted(hostile), random.randrange(1, 3)):
        content[key] = hostile[key]
    return json.dumps(content).encode()
