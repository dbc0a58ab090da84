"""Losses of matched sets: those of transformers' Grounding DINO, and what SAM 3's teach."""

from __future__ import annotations

from pathlib import Path

import torch
from helpers.finetuned import finetuned, write_model
from helpers.system_contract import items_of
from torch import Tensor

from risctl.core.losses.concept_instances import ConceptPredictions, concept_losses
from risctl.core.losses.set_matching import SetPredictions, SetTargets, SetWeights, match, set_losses
from risctl.data.batch import collate
from risctl.systems.transformers.families import instance_targets


def test_they_are_those_of_the_library(tmp_path: Path) -> None:
    system = finetuned(write_model(tmp_path / "model", "grounding-dino")).eval()
    batch = collate(items_of(system))
    boxes, _ = instance_targets(batch)
    labels = [{"class_labels": torch.zeros(len(one), dtype=torch.int64), "boxes": one} for one in boxes]
    network = system.network
    # The library reads the phrase's own tokens from marks whose ids its tiny tokenizer has not.
    words = batch.words.clone()
    inputs = {
        "pixel_values": system.encode_image(batch.images, batch.padding).maps[0],
        "pixel_mask": (~batch.padding).long(),
        "attention_mask": batch.word_mask.long(),
    }
    with torch.no_grad():
        theirs = network(**inputs, input_ids=words, labels=None)
        from transformers.loss.loss_grounding_dino import GroundingDinoForObjectDetectionLoss

        compared = torch.zeros(len(words), theirs.logits.shape[-1], dtype=torch.bool)
        compared[:, : words.shape[1]] = batch.word_mask
        _, expected, _ = GroundingDinoForObjectDetectionLoss(
            theirs.logits,
            labels,
            torch.device("cpu"),
            theirs.pred_boxes,
            network.config,
            [one[None] for one in compared],
            compared[:, None].expand_as(theirs.logits),
            encoder_logits=theirs.encoder_logits,
            encoder_pred_boxes=theirs.encoder_pred_boxes,
        )
        config = network.config
        found = set_losses(
            SetPredictions(logits=theirs.logits, boxes=theirs.pred_boxes),
            SetTargets(boxes=boxes, positive=compared, compared=compared),
            weights=SetWeights(classes=1.0, box=1.0, giou=1.0),
            match_weights=SetWeights(classes=config.class_cost, box=config.bbox_cost, giou=config.giou_cost),
        )
    for own, library in {"class": "loss_ce", "box": "loss_bbox", "giou": "loss_giou"}.items():
        assert torch.allclose(found[own], expected[library], rtol=1e-4), own


def _boxes(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows).reshape(-1, 4)


def test_each_instance_is_matched_once_and_what_is_left_over_is_none() -> None:
    boxes = _boxes((0.2, 0.2, 0.2, 0.2), (0.7, 0.7, 0.2, 0.2), (0.5, 0.5, 0.9, 0.9))[None]
    one = torch.ones((1, 1), dtype=torch.bool)
    true = _boxes((0.71, 0.7, 0.2, 0.2), (0.2, 0.21, 0.2, 0.2))
    predicted = SetPredictions(logits=torch.zeros(1, 3, 1), boxes=boxes)
    [(queries, places)] = match(predicted, SetTargets(boxes=[true], positive=one, compared=one), weights=SetWeights())
    assert dict(zip(queries.tolist(), places.tolist(), strict=True)) == {0: 1, 1: 0}
    nothing = SetTargets(boxes=[_boxes()], positive=one, compared=one)
    assert match(predicted, nothing, weights=SetWeights())[0][0].tolist() == []
    terms = set_losses(predicted, nothing, weights=SetWeights(), match_weights=SetWeights())
    assert terms["box"] == terms["giou"] == 0 < terms["class"]


def test_a_phrase_without_an_instance_teaches_presence_alone() -> None:
    torch.manual_seed(0)
    scores, presence = torch.randn(2, 4, requires_grad=True), torch.randn(2, requires_grad=True)
    boxes, masks = torch.rand(2, 4, 4, requires_grad=True), torch.randn(2, 4, 8, 8, requires_grad=True)
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, 2:9, 3:12] = True
    terms = concept_losses(
        ConceptPredictions(scores=scores, presence=presence, boxes=boxes, masks=masks),
        [_boxes((0.4, 0.3, 0.5, 0.4)), _boxes()],
        [mask, mask[:0]],
    )
    assert set(terms) == {"class", "presence", "box", "giou", "mask", "dice"}
    torch.stack(list(terms.values())).sum().backward()
    assert presence.grad is not None and presence.grad[0] < 0 < presence.grad[1]
    for value in (scores, boxes, masks):
        assert value.grad is not None and value.grad[0].any() and not value.grad[1].any()
