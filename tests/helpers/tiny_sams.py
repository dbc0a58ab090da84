"""Models of the SAM family with a few thousand random weights each, and their image processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    EdgeTamConfig,
    EdgeTamModel,
    PretrainedConfig,
    PreTrainedModel,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
    Sam2VideoConfig,
    Sam2VideoModel,
    SamConfig,
    SamHQConfig,
    SamHQModel,
    SamImageProcessor,
    SamModel,
    SamProcessor,
)
from transformers.modeling_outputs import BaseModelOutput

_VISION = {
    "hidden_size": 16, "output_channels": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8, "mlp_dim": 16, "window_size": 2, "global_attn_indexes": [1], "num_pos_feats": 4,
}  # fmt: skip
_PROMPT = {"hidden_size": 8, "image_size": 32, "patch_size": 8, "mask_input_channels": 4}
_DECODER = {
    "hidden_size": 8, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 8,
}  # fmt: skip
_HIERA = {
    "model_type": "sam2_hiera_det_model", "hidden_size": 4, "num_attention_heads": 1, "image_size": [64, 64],
    "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [4, 8, 16, 32],
    "num_attention_heads_per_stage": [1, 1, 1, 1], "window_size_per_stage": [4, 4, 4, 4],
    "global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4],
}  # fmt: skip
_PYRAMID = {"backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 8}
_PROMPT_64 = _PROMPT | {"image_size": 64, "patch_size": 16}


class PyramidConfig(PretrainedConfig):
    """A backbone in place of timm's RepViT."""

    model_type = "tests_pyramid"
    hidden_size: int = 8


class Pyramid(PreTrainedModel):
    """Four maps at strides 4 to 32, as a list in `last_hidden_state`, as transformers hands timm's on."""

    config_class = PyramidConfig

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__(config)
        strides = (4, 2, 2, 2)
        self.stages = nn.ModuleList(
            nn.Conv2d(8 if number else 3, 8, stride, stride) for number, stride in enumerate(strides)
        )
        self.post_init()

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutput:
        maps = [pixel_values]
        for stage in self.stages:
            maps.append(torch.tanh(stage(maps[-1])))
        return BaseModelOutput(last_hidden_state=maps[1:])  # type: ignore[arg-type]


AutoConfig.register("tests_pyramid", PyramidConfig, exist_ok=True)
AutoModel.register(PyramidConfig, Pyramid, exist_ok=True)


def tiny_sam(
    kind: str = "sam", *, backbone: dict[str, Any] | None = None, gain: float | None = None
) -> tuple[Any, Any]:
    """Return a model of `kind` and its processor.

    backbone: of EdgeTAM, instead of `Pyramid`; gain: what the mask logits, which are tiny, are multiplied by.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "sam":
            model = SamModel(
                SamConfig(vision_config=_VISION, prompt_encoder_config=_PROMPT, mask_decoder_config=_DECODER)
            )
        elif kind == "sam_hq":
            decoder = _DECODER | {"vit_dim": 16}
            model = SamHQModel(
                SamHQConfig(vision_config=_VISION, prompt_encoder_config=_PROMPT, mask_decoder_config=decoder)
            )
        elif kind in ("sam2", "sam2_video"):
            vision = {"backbone_config": _HIERA, "backbone_channel_list": [32, 16, 8, 4], **_PYRAMID}
            settings = {
                "vision_config": vision,
                "prompt_encoder_config": _PROMPT_64,
                "mask_decoder_config": _DECODER,
            }
            if kind == "sam2":
                model = Sam2Model(Sam2Config(**settings))
            else:
                # The published checkpoints are of videos; images use a part of their weights.
                memory = {
                    "memory_attention_hidden_size": 8, "memory_attention_num_layers": 1,
                    "memory_attention_feed_forward_hidden_size": 8, "memory_encoder_hidden_size": 8,
                    "memory_encoder_output_channels": 8, "mask_downsampler_embed_dim": 8,
                    "memory_fuser_embed_dim": 8, "memory_fuser_intermediate_dim": 8, "memory_fuser_num_layers": 1,
                    "memory_attention_rope_feat_sizes": [4, 4], "image_size": 64,
                }  # fmt: skip
                model = Sam2VideoModel(Sam2VideoConfig(**settings, **memory))
        else:
            vision = {
                "backbone_config": backbone or PyramidConfig(),
                "backbone_channel_list": [8, 8, 8, 8],
                **_PYRAMID,
            }
            model = EdgeTamModel(
                EdgeTamConfig(vision_config=vision, prompt_encoder_config=_PROMPT_64, mask_decoder_config=_DECODER)
            )
    if gain is not None:
        for name, value in model.mask_decoder.named_parameters():
            if "hypernetworks_mlps" in name and "proj_out" in name:
                value.data *= gain
    if kind in ("sam", "sam_hq"):
        return model.eval(), SamProcessor(
            SamImageProcessor(
                size={"longest_edge": 32}, pad_size={"height": 32, "width": 32},
                mask_size={"longest_edge": 8}, mask_pad_size={"height": 8, "width": 8},
            )
        )  # fmt: skip
    return model.eval(), Sam2Processor(
        Sam2ImageProcessor(size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16})
    )


def write_sam(folder: Path, kind: str = "sam", **options: Any) -> Path:
    """Write a tiny model in Hugging Face's layout and return its folder."""
    model, processor = tiny_sam(kind, **options)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
