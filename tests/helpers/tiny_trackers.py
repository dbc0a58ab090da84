"""Tiny trackers with random weights, as folders in Hugging Face's layout.

Their memories have 64 channels, which the library's attention to them is written for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from helpers.tiny_sams import PyramidConfig

_WIDTH = 128
_DECODER = {
    "hidden_size": _WIDTH, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 8,
}  # fmt: skip
_PYRAMID = {"backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": _WIDTH}
_MEMORY = {
    "memory_attention_hidden_size": _WIDTH, "memory_attention_num_layers": 1, "memory_encoder_hidden_size": _WIDTH,
    "memory_encoder_output_channels": 64, "mask_downsampler_embed_dim": _WIDTH, "memory_fuser_embed_dim": _WIDTH,
    "memory_fuser_intermediate_dim": 16, "memory_fuser_num_layers": 1, "memory_attention_rope_feat_sizes": [4, 4],
    "num_maskmem": 3, "max_object_pointers_in_encoder": 4,
}  # fmt: skip


def _prompt(side: int) -> dict[str, int]:
    return {"hidden_size": _WIDTH, "image_size": side, "patch_size": side // 4, "mask_input_channels": 4}


def _settings(side: int) -> dict[str, Any]:
    return {
        **_MEMORY, "image_size": side, "prompt_encoder_config": _prompt(side), "mask_decoder_config": _DECODER,
    }  # fmt: skip


def _sam2() -> tuple[Any, Any]:
    vision = {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model", "hidden_size": 4, "num_attention_heads": 1, "image_size": [64, 64],
            "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [4, 8, 16, 32],
            "num_attention_heads_per_stage": [1, 1, 1, 1], "window_size_per_stage": [4, 4, 4, 4],
            "global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4],
        },
        "backbone_channel_list": [32, 16, 8, 4], **_PYRAMID,
    }  # fmt: skip
    config = tf.Sam2VideoConfig(vision_config=vision, memory_attention_feed_forward_hidden_size=16, **_settings(64))
    return tf.Sam2VideoModel(config), _processor(tf.Sam2ImageProcessor, 64)


def _edgetam() -> tuple[Any, Any]:
    vision = tf.EdgeTamVisionConfig(backbone_config=PyramidConfig(), backbone_channel_list=[8, 8, 8, 8], **_PYRAMID)
    config = tf.EdgeTamVideoConfig(
        vision_config=vision, memory_attention_mlp_hidden_size=16, memory_attention_rope_k_sizes=[2, 2],
        perceiver_resampler_num_latents=4, perceiver_resampler_num_latents_2d=4,
        perceiver_resampler_mlp_intermediate_size=16, perceiver_resampler_num_layers=1, **_settings(64),
    )  # fmt: skip
    return tf.EdgeTamVideoModel(config), _processor(tf.Sam2ImageProcessor, 64)


def _sam3_tracker() -> tuple[Any, Any]:
    config = tf.Sam3TrackerVideoConfig(
        vision_config=tf.Sam3VisionConfig(**_SAM_3_VISION), memory_attention_feed_forward_hidden_size=16,
        **_settings(56),
    )  # fmt: skip
    return tf.Sam3TrackerVideoModel(config), _processor(tf.Sam3ImageProcessor, 56)


_SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
_SAM_3_VISION = {
    "backbone_config": {
        **_SMALL, "model_type": "sam3_vit_model", "num_hidden_layers": 2, "image_size": 56, "patch_size": 14,
        "window_size": 2, "global_attn_indexes": [1], "pretrain_image_size": 28,
    },
    **_PYRAMID,
}  # fmt: skip


def _sam3() -> tuple[Any, Any]:
    """Return what is published as SAM 3: a detector and a tracker that shares its backbone."""
    tracker = _sam3_tracker()[0].config.to_dict()
    detector = {
        "vision_config": _SAM_3_VISION,
        "text_config": {
            **_SMALL, "model_type": "clip_text_model", "num_hidden_layers": 1, "vocab_size": 32, "projection_dim": 8,
        },
        "geometry_encoder_config": {**_SMALL, "num_layers": 1}, "detr_encoder_config": {**_SMALL, "num_layers": 1},
        "detr_decoder_config": {**_SMALL, "num_layers": 1, "num_queries": 6},
        "mask_decoder_config": {"hidden_size": 16, "num_attention_heads": 2, "num_upsampling_stages": 2},
    }  # fmt: skip
    config = tf.Sam3VideoConfig(detector_config={"model_type": "sam3", **detector}, tracker_config=tracker)
    return tf.Sam3VideoModel(config), _processor(tf.Sam3ImageProcessor, 56)


def _processor(of: Any, side: int) -> Any:
    return of(size={"height": side, "width": side}, mask_size={"height": 16, "width": 16})


TRACKERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "sam2_video": _sam2,
    "edgetam_video": _edgetam,
    "sam3_tracker_video": _sam3_tracker,
    "sam3_video": _sam3,
}


def write_box_segmenter(folder: Path) -> Path:
    """Write a `sam3_tracker`, SAM 3's segmenter of boxes in single images; return its folder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = tf.Sam3TrackerConfig(
            vision_config=tf.Sam3VisionConfig(**_SAM_3_VISION),
            prompt_encoder_config=_prompt(56),
            mask_decoder_config=_DECODER,
        )
        tf.Sam3TrackerModel(config).save_pretrained(folder)
    _processor(tf.Sam3ImageProcessor, 56).save_pretrained(folder)
    return folder


def write_tracker(folder: Path, kind: str) -> Path:
    """Write the tracker `kind`, a key of `TRACKERS`; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = TRACKERS[kind]()
        for name, value in model.named_parameters():
            # The masks of random weights have logits near 0, and embeddings that are learned begin at 0.
            if "hypernetworks_mlps" in name and "proj_out" in name:
                value.data *= 30
            elif name.endswith("pred_obj_score_head.proj_out.bias"):
                torch.nn.init.ones_(value)  # the object shows
            elif not value.any():
                torch.nn.init.normal_(value, std=0.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
