"""Very small CLIPs with random weights, as files in each published layout."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from risctl.core.encoders.clip import CLIP
from risctl.systems.global_local_clip.published import build_published_clip

WORDS = ("the", "a", "red", "blue", "man", "dog", "cup", "box", "left", "right", "on", "in", "shirt", "photo", "of")
SIDE, PATCH = 64, 16


def openai_state(kind: str = "vit", *, seed: int = 0, patch: int = PATCH, vocabulary: int = 300) -> dict[str, Tensor]:
    """Return a state dict by OpenAI's names: a ViT of four blocks, or a ResNet of one block a stage."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = _block_state("transformer.", 64, 2)
        state |= {
            "positional_embedding": 0.1 * torch.randn(77, 64),
            "text_projection": torch.randn(64, 32) / 8,
            "logit_scale": torch.tensor(2.0),
            "token_embedding.weight": torch.randn(vocabulary, 64),
            "ln_final.weight": torch.ones(64),
            "ln_final.bias": torch.zeros(64),
        }
        return state | (_vit(patch) if kind == "vit" else _resnet())


def _vit(patch: int) -> dict[str, Tensor]:
    state = {
        "visual.class_embedding": torch.randn(64),
        "visual.positional_embedding": 0.3 * torch.randn((SIDE // patch) ** 2 + 1, 64),
        "visual.proj": torch.randn(64, 32) / 8,
        "visual.conv1.weight": torch.randn(64, 3, patch, patch) / patch,
    }
    for name in ("ln_pre", "ln_post"):
        state |= {f"visual.{name}.weight": torch.ones(64), f"visual.{name}.bias": 0.1 * torch.randn(64)}
    return state | _block_state("visual.transformer.", 64, 4)


def _block_state(prefix: str, width: int, blocks: int) -> dict[str, Tensor]:
    state = {}
    for number in range(blocks):
        block = f"{prefix}resblocks.{number}"
        shapes = {
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "mlp.c_fc.weight": (2 * width, width),
            "mlp.c_fc.bias": (2 * width,),
            "mlp.c_proj.weight": (width, 2 * width),
            "mlp.c_proj.bias": (width,),
        }
        for name, shape in shapes.items():
            state[f"{block}.{name}"] = torch.randn(shape) / (shape[-1] ** 0.5 if len(shape) > 1 else 10)
        for norm in ("ln_1", "ln_2"):
            state |= {f"{block}.{norm}.weight": torch.ones(width), f"{block}.{norm}.bias": 0.1 * torch.randn(width)}
    return state


def _resnet() -> dict[str, Tensor]:
    from risctl.core.encoders.visual.clip_resnet import CLIPResNet

    net = CLIPResNet((1, 1, 1, 1), channels=8, width=32, heads=4, resolution=SIDE)
    return {f"visual.{name}": value for name, value in net.state_dict().items()}


def tiny_clip(kind: str = "vit", *, seed: int = 0, patch: int = PATCH) -> CLIP:
    """Return the CLIP of `openai_state`."""
    return build_published_clip(openai_state(kind, seed=seed, patch=patch), source="tests")


def write_tokenizer(folder: Path) -> None:
    """Write vocab.json and merges.txt of `WORDS`; other words are spelt in letters."""
    letters = [chr(index) for index in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[str] = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merge = f"{parts[0]} {parts[1]}"
            if merge not in merges:
                merges.append(merge)
                tokens.append(parts[0] + parts[1])
            parts = [parts[0] + parts[1], *parts[2:]]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")


def write_hugging_face(folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny CLIP in Hugging Face's layout and return its folder."""
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**tower, "num_hidden_layers": 2, "vocab_size": 300, "bos_token_id": 298, "eos_token_id": 299},
        vision_config={**tower, "image_size": SIDE, "patch_size": PATCH},
        projection_dim=32,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        CLIPModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder
