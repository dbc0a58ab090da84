"""Models that propose, of a few thousand random weights each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from risctl.errors import CheckpointError
from risctl.zeroshot.proposals.base import InputImage
from risctl.zeroshot.proposals.mask2former import Mask2Former, load_mask2former
from risctl.zeroshot.proposals.mask_rcnn import MaskRCNN, load_mask_rcnn
from risctl.zeroshot.proposals.segment_anything import load_segment_anything

IMAGE = InputImage(pixels=np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8), name="noise.png")


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
    found = load_mask2former(str(tmp_path))(IMAGE)
    assert found.masks.shape == (5, 40, 60)
    assert (np.diff(found.scores) <= 0).all()
    assert np.array_equal(found.masks, Mask2Former(model, processor, name="m")(IMAGE).masks)
    with pytest.raises(CheckpointError, match="SAM family"):
        load_segment_anything(str(tmp_path))


def test_mask_rcnn(tmp_path: Path) -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    model = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=96, box_score_thresh=0.0,
        box_detections_per_img=4,
    )  # fmt: skip
    found = MaskRCNN(model, name="m")(IMAGE)
    assert found.masks.shape[1:] == (40, 60)
    assert len(found.masks) == len(found.scores) <= 4
    (tmp_path / "weights.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match="Mask R-CNN"):
        load_mask_rcnn(str(tmp_path / "weights.pth"))
