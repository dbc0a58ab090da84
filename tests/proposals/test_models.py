"""Models that propose, of a few thousand random weights each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from risctl.errors import CheckpointError
from risctl.proposals.base import Picture
from risctl.proposals.mask2former import Mask2Former, load_mask2former
from risctl.proposals.mask_rcnn import MaskRCNN, load_mask_rcnn
from risctl.proposals.segment_anything import SegmentAnything, load_segment_anything

PICTURE = Picture(pixels=np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8), name="noise.png")


def _tiny_sam() -> tuple[object, object]:
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    torch.manual_seed(0)
    config = SamConfig(
        vision_config={
            "hidden_size": 16, "output_channels": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 8, "mlp_dim": 16, "window_size": 2, "global_attn_indexes": [0],
            "num_pos_feats": 4,
        },
        prompt_encoder_config={"hidden_size": 8, "image_size": 32, "patch_size": 8, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 8, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 8,
        },
    )  # fmt: skip
    processor = SamProcessor(
        SamImageProcessor(
            size={"longest_edge": 32}, pad_size={"height": 32, "width": 32},
            mask_size={"longest_edge": 8}, mask_pad_size={"height": 8, "width": 8},
        )
    )  # fmt: skip
    return SamModel(config), processor


def test_the_sam_family(tmp_path: Path) -> None:
    model, processor = _tiny_sam()
    model.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    processor.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    source = load_segment_anything(str(tmp_path), points=2)
    assert source.name.startswith("sam ")
    free = SegmentAnything(model, processor, name="sam", points=2, predicted_iou=-10.0, stability=-10.0)
    found = free(PICTURE)
    assert found.masks.shape[1:] == (40, 60)
    assert found.masks.dtype == bool
    assert len(found) == len(found.scores) > 0
    strict = SegmentAnything(model, processor, name="sam", points=2, predicted_iou=1e9)
    assert len(strict(PICTURE)) == 0


def test_mask2former(tmp_path: Path) -> None:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, hidden_dim=32, num_attention_heads=2, encoder_layers=1, decoder_layers=2,
        encoder_feedforward_dim=8, dim_feedforward=8, num_queries=5, mask_feature_size=32, feature_size=32,
        num_labels=3,
    )  # fmt: skip
    model = Mask2FormerForUniversalSegmentation(config)
    processor = Mask2FormerImageProcessor(size={"shortest_edge": 32, "longest_edge": 64}, ignore_index=255)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    found = load_mask2former(str(tmp_path))(PICTURE)
    assert found.masks.shape == (5, 40, 60)
    assert (np.diff(found.scores) <= 0).all()
    assert np.array_equal(found.masks, Mask2Former(model, processor, name="m")(PICTURE).masks)
    with pytest.raises(CheckpointError, match="SAM family"):
        load_segment_anything(str(tmp_path))


def test_mask_rcnn(tmp_path: Path) -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    model = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=96, box_score_thresh=0.0,
        box_detections_per_img=4,
    )  # fmt: skip
    found = MaskRCNN(model, name="m")(PICTURE)
    assert found.masks.shape[1:] == (40, 60)
    assert len(found.masks) == len(found.scores) <= 4
    (tmp_path / "weights.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match="Mask R-CNN"):
        load_mask_rcnn(str(tmp_path / "weights.pth"))
