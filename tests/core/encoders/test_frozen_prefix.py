"""What an encoder keeps frozen can be computed before: begun and finished apart, it gives what its forward gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from risctl.core.encoders import frozen_prefix
from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.encoders.text.roberta import RobertaEncoder
from risctl.core.encoders.visual.darknet53 import Darknet53
from risctl.core.encoders.visual.dilated_resnet import DilatedResNet
from risctl.core.encoders.visual.resnet import ResNet
from risctl.core.encoders.visual.small_cnn import SmallCNN

VISUAL = {
    "all but the head's last two blocks": (lambda: Darknet53(frozen_convolutions=56, batch_statistics=False), 56),
    "all of Darknet": (lambda: Darknet53(frozen_convolutions=58, batch_statistics=False), 58),
    "two stages of a dilated ResNet": (lambda: DilatedResNet("resnet18", frozen_stages=2, frozen_norms=True), 3),
    "all of a dilated ResNet": (lambda: DilatedResNet("small_cnn", frozen_stages=5), 6),
    "a whole ResNet": (lambda: ResNet("resnet18", frozen=True), 1),
    "a whole small backbone": (lambda: SmallCNN(frozen=True), 1),
}
TRAINED = {
    "Darknet that trains before its head": lambda: Darknet53(frozen_convolutions=51, batch_statistics=False),
    "Darknet whose frozen norms take the batch": lambda: Darknet53(),
    "a dilated ResNet": lambda: DilatedResNet("small_cnn"),
    "a small backbone": lambda: SmallCNN(),
    "a reader": lambda: roberta(frozen=False),
}


def roberta(*, frozen: bool) -> RobertaEncoder:
    return RobertaEncoder(vocabulary=20, channels=8, layers=1, width=16, heads=2, feed_forward=16, frozen=frozen)


def _inputs() -> tuple[torch.Tensor, torch.Tensor]:
    padding = torch.zeros(2, 64, 64, dtype=torch.bool)
    padding[1, 40:] = True
    return torch.rand(2, 3, 64, 64) * ~padding[:, None], padding


@pytest.mark.parametrize("which", VISUAL)
def test_a_backbone_begun_and_finished_apart_gives_what_it_gives_at_once(which: str) -> None:
    torch.manual_seed(0)
    make, modules = VISUAL[which]
    backbone = make().train()
    assert len(frozen_prefix.frozen_prefix_of(backbone)) == modules
    images, padding = _inputs()
    # One that trains in part sees other batch statistics every time, but the same for the same batch.
    whole = backbone(images, padding)
    with torch.no_grad():
        parts = frozen_prefix.begin(backbone, images, padding)
        alone = [frozen_prefix.begin(backbone, images[row : row + 1], padding[row : row + 1]) for row in range(2)]
    assert isinstance(whole, VisualFeatures)
    apart = frozen_prefix.finish_visual(backbone, parts, padding)
    assert apart.strides == whole.strides
    for mine, theirs in zip(apart.maps, whole.maps, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)
    for one, row in zip(alone, range(2), strict=True):
        for mine, theirs in zip(one, parts, strict=True):
            assert torch.allclose(mine[0], theirs[row], atol=1e-4), "a frozen part knows no company"


def test_a_frozen_text_encoder_is_finished_by_its_resizer() -> None:
    torch.manual_seed(0)
    reader = roberta(frozen=True).train()
    reader.resizer[2].p = 0.0
    assert frozen_prefix.frozen_prefix_of(reader) == (reader.roberta,)
    words, mask = torch.randint(3, 20, (2, 5)), torch.ones(2, 5, dtype=torch.bool)
    mask[1, 3:] = False
    whole = reader(words, mask)
    parts = frozen_prefix.begin(reader, words, mask)
    apart = frozen_prefix.finish_text(reader, tuple(part.detach() for part in parts), mask)
    assert isinstance(whole, TextFeatures)
    assert torch.allclose(apart.words, whole.words) and torch.allclose(apart.sentence, whole.sentence)
    apart.sentence.sum().backward()
    assert reader.resizer[0].weight.grad is not None and next(reader.roberta.parameters()).grad is None


@pytest.mark.parametrize("which", TRAINED)
def test_what_trains_from_its_first_layer_on_has_no_stem(which: str) -> None:
    assert frozen_prefix.frozen_prefix_of(TRAINED[which]().train()) == ()


def test_a_frozen_encoder_whose_norms_learn_is_no_stem() -> None:
    backbone = SmallCNN(frozen=True).train()
    assert frozen_prefix.frozen_prefix_of(backbone)
    next(module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)).train()
    assert frozen_prefix.frozen_prefix_of(backbone) == ()


def test_the_digest_is_of_the_frozen_numbers_alone() -> None:
    backbone = Darknet53(frozen_convolutions=56, batch_statistics=False).train()
    before = frozen_prefix.digest(frozen_prefix.frozen_prefix_of(backbone))
    with torch.no_grad():
        backbone.blocks()[57].conv.weight.add_(1)
    assert frozen_prefix.digest(frozen_prefix.frozen_prefix_of(backbone)) == before
    for change in (backbone.blocks()[3].conv.weight, backbone.blocks()[55].norm.running_mean):
        with torch.no_grad():
            change.add_(1)
        changed = frozen_prefix.digest(frozen_prefix.frozen_prefix_of(backbone))
        assert changed != before
        before = changed
