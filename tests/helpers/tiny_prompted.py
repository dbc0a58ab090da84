"""Tiny text-prompted networks with random weights, as folders in Hugging Face's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from helpers.tiny_clip import WORDS, write_tokenizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertTokenizer,
    CLIPImageProcessor,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    CLIPTokenizer,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    PreTrainedTokenizerFast,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3LiteTextConfig,
    Sam3LiteTextModel,
    Sam3Model,
    Sam3Processor,
    ViTImageProcessor,
)


def write_prompted(folder: Path, kind: str, **options: Any) -> Path:
    """Write clipseg, sam3, sam3-lite, grounding-dino or florence2, saved with `options`; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        makers = {
            "clipseg": _clipseg, "sam3": _sam3, "sam3-lite": _sam3_lite, "grounding-dino": _grounding_dino,
            "florence2": _florence,
        }  # fmt: skip
        model, processor = makers[kind](folder)
    model.save_pretrained(folder, **options)
    processor.save_pretrained(folder)
    return folder


def _clipseg(folder: Path) -> tuple[Any, Any]:
    tokens = _clip_tokens(folder)
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = CLIPSegForImageSegmentation(
        CLIPSegConfig(
            text_config={**tower, "vocab_size": len(tokens), **_ends(tokens)},
            vision_config={**tower, "image_size": 32, "patch_size": 8},
            projection_dim=16, extract_layers=[0, 1], reduce_dim=8, decoder_num_attention_heads=2,
            decoder_intermediate_size=16,
        )
    )  # fmt: skip
    return model, CLIPSegProcessor(ViTImageProcessor(size={"height": 32, "width": 32}), tokens)


_SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
_SAM_3 = {
    "vision_config": {
        "backbone_config": {
            **_SMALL, "model_type": "sam3_vit_model", "num_hidden_layers": 2, "image_size": 56,
            "patch_size": 14, "window_size": 2, "global_attn_indexes": [1], "pretrain_image_size": 28,
        },
        "fpn_hidden_size": 16, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    },
    "geometry_encoder_config": {**_SMALL, "num_layers": 1},
    "detr_encoder_config": {**_SMALL, "num_layers": 1},
    "detr_decoder_config": {**_SMALL, "num_layers": 1, "num_queries": 6},
    "mask_decoder_config": {"hidden_size": 16, "num_attention_heads": 2, "num_upsampling_stages": 2},
}  # fmt: skip


def _sam3(folder: Path) -> tuple[Any, Any]:
    tokens = _clip_tokens(folder)
    text = {
        **_SMALL, "model_type": "clip_text_model", "num_hidden_layers": 1, "vocab_size": len(tokens),
        "projection_dim": 8, "max_position_embeddings": 32, **_ends(tokens),
    }  # fmt: skip
    return _with_differing_queries(Sam3Model(Sam3Config(**_SAM_3, text_config=text))), _sam3_processor(tokens)


def _sam3_lite(folder: Path) -> tuple[Any, Any]:
    tokens = _clip_tokens(folder)
    text = {
        **_SMALL, "num_hidden_layers": 3, "vocab_size": len(tokens), "projection_dim": 8,
        "max_position_embeddings": 32,
    }  # fmt: skip
    settings = _SAM_3 | {"text_config": text}
    return _with_differing_queries(Sam3LiteTextModel(Sam3LiteTextConfig(**settings))), _sam3_processor(tokens)


def _with_differing_queries(model: Any) -> Any:
    # Drawn this small, no query would differ from another.
    for value in model.detr_decoder.parameters():
        torch.nn.init.normal_(value, std=0.5)
    return model


def _sam3_processor(tokens: CLIPTokenizer) -> Sam3Processor:
    return Sam3Processor(Sam3ImageProcessor(size={"height": 56, "width": 56}), tokens)


def _grounding_dino(folder: Path) -> tuple[Any, Any]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    model = GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config={
                "model_type": "swin", "image_size": 64, "embed_dim": 8, "depths": [1, 1, 1, 1],
                "num_heads": [1, 1, 1, 1], "window_size": 2, "out_features": ["stage2", "stage3", "stage4"],
            },
            text_config={
                "model_type": "bert", "vocab_size": len(words), "hidden_size": 16, "num_hidden_layers": 1,
                "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64,
            },
            d_model=32, num_queries=6, encoder_layers=2, encoder_ffn_dim=16, encoder_attention_heads=2,
            decoder_layers=2, decoder_ffn_dim=16, decoder_attention_heads=2, max_text_len=16,
        )
    )  # fmt: skip
    image = GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    return model, GroundingDinoProcessor(image, BertTokenizer(str(folder / "vocab.txt")))


def _clip_tokens(folder: Path) -> CLIPTokenizer:
    write_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder)


def _ends(tokens: CLIPTokenizer) -> dict[str, int]:
    return {name: getattr(tokens, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _florence(folder: Path) -> tuple[Any, Any]:
    names = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "<image>",
        "<sep>",
        "<poly>",
        "</poly>",
        "Locate",
        "image",
        "with",
        "mask",
    ]
    places = [f"<loc_{place}>" for place in range(1000)]
    words = [*names, *places, *WORDS]
    inner = Tokenizer(WordLevel({word: number for number, word in enumerate(dict.fromkeys(words))}, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    tokens = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        model_max_length=64, extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    tokens.add_special_tokens({"additional_special_tokens": [*names[5:8], *places]}, replace_extra_special_tokens=False)
    width = 16
    vision = {
        "depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1],
        "patch_prenorm": [False, True], "embed_dim": [8, 16], "num_heads": [1, 2], "num_groups": [1, 2],
        "window_size": 2, "projection_dim": width,
    }  # fmt: skip
    text = {
        "model_type": "bart", "vocab_size": len(tokens), "d_model": width, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
        "max_position_embeddings": 48, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
        "decoder_start_token_id": 2, "forced_bos_token_id": 0, "forced_eos_token_id": 2,
    }  # fmt: skip
    config = Florence2Config(
        vision_config=vision, text_config=text, image_token_id=tokens.convert_tokens_to_ids("<image>"),
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
    )  # fmt: skip
    image = CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    image.image_seq_length = 17
    return Florence2ForConditionalGeneration(config), Florence2Processor(image, tokens)
