"""Tiny detectors and instance segmenters with random weights, as folders in Hugging Face's layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from helpers.tiny_clip import WORDS, write_tokenizer

LABELS = ("person", "dog", "cup", "aeroplane")
"""The categories of the detectors; the last by a name that COCO does not use."""

_TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_RESNET = {
    "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}  # fmt: skip
_SWIN = {
    "model_type": "swin", "image_size": 64, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1],
    "window_size": 2, "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip


def named_labels() -> dict[str, Any]:
    """Return the settings that name the categories `LABELS`."""
    return {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {name: number for number, name in enumerate(LABELS)},
    }


def write_finder(folder: Path, kind: str) -> Path:
    """Write the model `kind`, a key of `KINDS`; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = KINDS[kind](folder)
        # As initialised, focal losses' biases would leave nothing that scores.
        for name, value in model.named_parameters():
            if "class_embed" in name and name.endswith("bias"):
                torch.nn.init.zeros_(value)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _owl(kind: str) -> Callable[[Path], tuple[Any, Any]]:
    def make(folder: Path) -> tuple[Any, Any]:
        write_tokenizer(folder)
        tokens = tf.CLIPTokenizer.from_pretrained(folder)
        ends = {name: getattr(tokens, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        settings = {
            "text_config": {**_TOWER, "vocab_size": len(tokens), "max_position_embeddings": 16, **ends},
            "vision_config": {**_TOWER, "image_size": 32, "patch_size": 8},
            "projection_dim": 16,
        }
        size = {"height": 32, "width": 32}
        if kind == "owlv2":
            processor = tf.Owlv2Processor(tf.Owlv2ImageProcessor(size=size), tokens)
            return tf.Owlv2ForObjectDetection(tf.Owlv2Config(**settings)), processor
        image = tf.OwlViTImageProcessor(size=size, crop_size=size)
        return tf.OwlViTForObjectDetection(tf.OwlViTConfig(**settings)), tf.OwlViTProcessor(image, tokens)

    return make


def _mm_grounding_dino(folder: Path) -> tuple[Any, Any]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    model = tf.MMGroundingDinoForObjectDetection(
        tf.MMGroundingDinoConfig(
            backbone_config=_SWIN | {"out_features": ["stage2", "stage3", "stage4"]},
            text_config={
                "model_type": "bert", "vocab_size": len(words), "hidden_size": 16, "num_hidden_layers": 1,
                "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64,
            },
            d_model=32, num_queries=6, encoder_layers=2, encoder_ffn_dim=16, encoder_attention_heads=2,
            decoder_layers=2, decoder_ffn_dim=16, decoder_attention_heads=2, max_text_len=16,
        )
    )  # fmt: skip
    image = tf.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    return model, tf.GroundingDinoProcessor(image, tf.BertTokenizer(str(folder / "vocab.txt")))


def _omdet(folder: Path) -> tuple[Any, Any]:
    write_tokenizer(folder)
    tokens = tf.CLIPTokenizer.from_pretrained(folder)
    ends = {name: getattr(tokens, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = tf.OmDetTurboConfig(
        backbone_config=_SWIN | {"out_features": ["stage2", "stage3", "stage4"]}, use_timm_backbone=False,
        backbone=None, backbone_image_size=64, image_size=64,
        text_config={
            "model_type": "clip_text_model", **_TOWER, "vocab_size": len(tokens), "projection_dim": 16, **ends,
        },
        text_projection_in_dim=16, text_projection_out_dim=16, class_embed_dim=16,
        apply_layernorm_after_vision_backbone=False, num_queries=6, encoder_hidden_dim=32, decoder_hidden_dim=32,
        vision_features_channels=[32, 32, 32], backbone_feat_channels=[16, 32, 64], encoder_in_channels=[16, 32, 64],
        task_encoder_hidden_dim=16, encoder_dim_feedforward=16, decoder_dim_feedforward=16, encoder_attention_heads=2,
        decoder_num_heads=2, decoder_num_layers=1, encoder_layers=1, decoder_num_points=2, max_text_len=16,
    )  # fmt: skip
    image = tf.DetrImageProcessor(size={"height": 64, "width": 64}, do_pad=False)
    return tf.OmDetTurboForObjectDetection(config), tf.OmDetTurboProcessor(image, tokens)


def _detr(folder: Path) -> tuple[Any, Any]:
    config = tf.DetrConfig(
        backbone_config=_RESNET | {"out_features": ["stage4"]}, use_timm_backbone=False, backbone=None, d_model=16,
        encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2,
        decoder_attention_heads=2, num_queries=6, **named_labels(),
    )  # fmt: skip
    return tf.DetrForObjectDetection(config), tf.DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})


_SMALL_DETR = {
    "use_timm_backbone": False, "backbone": None, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_queries": 6,
}  # fmt: skip
_REAL_TIME = {
    "encoder_hidden_dim": 16, "encoder_in_channels": [8, 8, 8], "encoder_layers": 1, "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2, "d_model": 16, "decoder_in_channels": [16, 16, 16], "decoder_ffn_dim": 16,
    "num_queries": 6, "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_n_points": 2, "num_denoising": 0,
}  # fmt: skip
_REAL_TIME_RESNET = _RESNET | {"model_type": "rt_detr_resnet", "out_features": ["stage2", "stage3", "stage4"]}


def _rt_detr(version: int) -> Callable[[Path], tuple[Any, Any]]:
    def make(folder: Path) -> tuple[Any, Any]:
        settings = {"backbone_config": _REAL_TIME_RESNET, **_REAL_TIME, **named_labels()}
        processor = tf.RTDetrImageProcessor(size={"height": 64, "width": 64})
        if version == 1:
            return tf.RTDetrForObjectDetection(tf.RTDetrConfig(**settings)), processor
        return tf.RTDetrV2ForObjectDetection(tf.RTDetrV2Config(**settings)), processor

    return make


_HGNET = {
    "model_type": "hgnet_v2", "num_channels": 3, "embedding_size": 8, "depths": [1, 1, 1, 1],
    "hidden_sizes": [8, 8, 8, 8], "stem_channels": [3, 8, 8], "stage_in_channels": [8, 8, 8, 8],
    "stage_mid_channels": [8, 8, 8, 8], "stage_out_channels": [8, 8, 8, 8], "stage_num_blocks": [1, 1, 1, 1],
    "stage_downsample": [False, True, True, True], "stage_light_block": [False, False, False, False],
    "stage_kernel_size": [3, 3, 3, 3], "stage_numb_of_layers": [1, 1, 1, 1],
    "out_features": ["stage2", "stage3", "stage4"],
}  # fmt: skip


def _d_fine(kind: str) -> Callable[[Path], tuple[Any, Any]]:
    def make(folder: Path) -> tuple[Any, Any]:
        settings = {"backbone_config": _HGNET, **_REAL_TIME, "decoder_n_points": [2, 2, 2], **named_labels()}
        processor = tf.RTDetrImageProcessor(size={"height": 64, "width": 64})
        if kind == "deimv2":
            return tf.Deimv2ForObjectDetection(tf.Deimv2Config(**settings)), processor
        return tf.DFineForObjectDetection(tf.DFineConfig(**settings)), processor

    return make


def _deformable_detr(folder: Path) -> tuple[Any, Any]:
    config = tf.DeformableDetrConfig(
        backbone_config=_RESNET | {"out_features": ["stage2", "stage3", "stage4"]},
        **_SMALL_DETR | {"decoder_layers": 2}, d_model=32, encoder_n_points=2, decoder_n_points=2,
        disable_custom_kernels=True, **named_labels(),
    )  # fmt: skip
    processor = tf.DeformableDetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    return tf.DeformableDetrForObjectDetection(config), processor


def _lw_detr(folder: Path) -> tuple[Any, Any]:
    config = tf.LwDetrConfig(
        backbone_config={
            "model_type": "lw_detr_vit", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 64, "pretrain_image_size": 64, "window_block_indices": [0], "num_windows": 4,
            "out_features": ["stage1", "stage2"],
        },
        projector_scale_factors=[1.0], d_model=16, num_queries=6, decoder_layers=1, decoder_ffn_dim=16,
        decoder_self_attention_heads=2, decoder_cross_attention_heads=2, decoder_n_points=2, group_detr=1,
        **named_labels(),
    )  # fmt: skip
    return tf.LwDetrForObjectDetection(config), tf.DeformableDetrImageProcessor(size={"height": 64, "width": 64})


def _yolos(folder: Path) -> tuple[Any, Any]:
    config = tf.YolosConfig(**_TOWER, image_size=[64, 64], patch_size=16, num_detection_tokens=6, **named_labels())
    return tf.YolosForObjectDetection(config), tf.YolosImageProcessor(size={"height": 64, "width": 64})


def _conditional(kind: str) -> Callable[[Path], tuple[Any, Any]]:
    def make(folder: Path) -> tuple[Any, Any]:
        settings = {"backbone_config": _RESNET | {"out_features": ["stage4"]}, **_SMALL_DETR, **named_labels()}
        processor = tf.ConditionalDetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
        if kind == "dab-detr":
            return tf.DabDetrForObjectDetection(tf.DabDetrConfig(hidden_size=16, **settings)), processor
        return tf.ConditionalDetrForObjectDetection(tf.ConditionalDetrConfig(d_model=16, **settings)), processor

    return make


def _rf_detr(kind: str) -> Callable[[Path], tuple[Any, Any]]:
    def make(folder: Path) -> tuple[Any, Any]:
        config = tf.RfDetrConfig(
            backbone_config={
                "model_type": "rf_detr_dinov2", "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2,
                "image_size": 56, "patch_size": 14, "num_windows": 1, "out_features": ["stage2", "stage4"],
            },
            d_model=16, num_queries=6, decoder_layers=1, decoder_ffn_dim=16, decoder_self_attention_heads=2,
            decoder_cross_attention_heads=2, group_detr=1, **named_labels(),
        )  # fmt: skip
        of = tf.RfDetrForObjectDetection if kind == "boxes" else tf.RfDetrForInstanceSegmentation
        return of(config), tf.RfDetrImageProcessor(size={"height": 56, "width": 56})

    return make


def _mask2former(folder: Path) -> tuple[Any, Any]:
    config = tf.Mask2FormerConfig(
        backbone_config=_SWIN, hidden_dim=32, num_attention_heads=2, encoder_layers=1, decoder_layers=2,
        encoder_feedforward_dim=8, dim_feedforward=8, num_queries=5, mask_feature_size=32, feature_size=32,
        **named_labels(),
    )  # fmt: skip
    model = tf.Mask2FormerForUniversalSegmentation(config)
    return model, tf.Mask2FormerImageProcessor(size={"shortest_edge": 32, "longest_edge": 64}, ignore_index=255)


def _maskformer(folder: Path) -> tuple[Any, Any]:
    config = tf.MaskFormerConfig(
        backbone_config=_SWIN, fpn_feature_size=32, mask_feature_size=32,
        decoder_config={
            "model_type": "detr", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8,
            "decoder_ffn_dim": 8, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_queries": 5,
        },
        **named_labels(),
    )  # fmt: skip
    model = tf.MaskFormerForInstanceSegmentation(config)
    return model, tf.MaskFormerImageProcessor(size={"shortest_edge": 32, "longest_edge": 64}, ignore_index=255)


def _eomt(kind: str) -> Callable[[Path], tuple[Any, Any]]:
    def make(folder: Path) -> tuple[Any, Any]:
        settings = {
            "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16,
            "image_size": 32, "patch_size": 8, "num_blocks": 1, "num_upscale_blocks": 1, "num_queries": 5,
            "num_register_tokens": 0, **named_labels(),
        }  # fmt: skip
        processor = tf.EomtImageProcessor(
            size={"shortest_edge": 32, "longest_edge": 32}, do_pad=True, do_split_image=False, ignore_index=255
        )
        if kind == "eomt_dinov3":
            return tf.EomtDinov3ForUniversalSegmentation(tf.EomtDinov3Config(**settings)), processor
        return tf.EomtForUniversalSegmentation(tf.EomtConfig(**settings)), processor

    return make


def _oneformer(folder: Path) -> tuple[Any, Any]:
    write_tokenizer(folder)
    tokens = tf.CLIPTokenizer.from_pretrained(folder)
    config = tf.OneFormerConfig(
        backbone_config=_SWIN, num_queries=5, hidden_dim=32, mask_dim=32, conv_dim=32, encoder_feedforward_dim=8,
        dim_feedforward=8, encoder_layers=1, decoder_layers=2, num_attention_heads=2, query_dec_layers=1,
        task_seq_len=16, text_encoder_width=32, text_encoder_context_length=16, text_encoder_num_layers=1,
        text_encoder_vocab_size=len(tokens), text_encoder_n_ctx=2, **named_labels(),
    )  # fmt: skip
    image = tf.OneFormerImageProcessor(size={"shortest_edge": 32, "longest_edge": 64}, ignore_index=255)
    # As published: a file on the hub, which no test may ask for.
    image.class_info_file = "coco_panoptic.json"
    processor = tf.OneFormerProcessor(image, tokens, max_seq_length=16, task_seq_length=16)
    return tf.OneFormerForUniversalSegmentation(config), processor


BY_PHRASE: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "owlv2": _owl("owlv2"),
    "owlvit": _owl("owlvit"),
    "mm-grounding-dino": _mm_grounding_dino,
    "omdet-turbo": _omdet,
}
BOXES: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "detr": _detr,
    "rt_detr_v2": _rt_detr(2),
    "rf_detr": _rf_detr("boxes"),
}
FURTHER: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "conditional_detr": _conditional("conditional_detr"),
    "d_fine": _d_fine("d_fine"),
    "deformable_detr": _deformable_detr,
    "deimv2": _d_fine("deimv2"),
    "lw_detr": _lw_detr,
    "dab-detr": _conditional("dab-detr"),
    "rt_detr": _rt_detr(1),
    "yolos": _yolos,
}
"""Further detectors of `BOXES`' kind, of which fewer things are tested."""

MASKS: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "rf_detr_seg": _rf_detr("masks"),
    "mask2former": _mask2former,
    "maskformer": _maskformer,
    "eomt": _eomt("eomt"),
    "eomt_dinov3": _eomt("eomt_dinov3"),
    "oneformer": _oneformer,
}
KINDS = {**BY_PHRASE, **BOXES, **MASKS, **FURTHER}
