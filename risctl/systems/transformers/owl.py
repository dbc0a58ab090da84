"""OWL-ViT (Minderer et al., ECCV 2022) and OWLv2 (NeurIPS 2023): a box for each patch, compared with the phrase.

Trained as published by a bipartite matching loss with a focal loss of the comparison; its weights are not the published
ones, which were not looked up, but those of Deformable DETR. The other phrases of a batch are not taken as negatives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.losses.set_matching import SetPredictions, SetTargets, SetWeights, set_losses
from risctl.data.batch import Batch
from risctl.systems.base import Output
from risctl.systems.transformers.boxes import areas, chosen
from risctl.systems.transformers.families import instance_targets

_WEIGHTS = SetWeights()


class Owl:
    """OWL-ViT and OWLv2; the parameters of CLIP stand under the family's own name, `owlvit` or `owlv2`."""

    finds = "boxes"
    visual = ("owlvit.vision_model.", "owlv2.vision_model.")
    text = ("owlvit.text_model.", "owlv2.text_model.", "owlvit.text_projection.", "owlv2.text_projection.")
    attention = ("q_proj", "k_proj", "v_proj", "out_proj")
    min_score = 0.1

    def unused(self, model: Any) -> tuple[str, ...]:
        """Returns what compares whole images, and what says whether a patch is any object, which no phrase asks for."""
        own = model.base_model_prefix
        return (f"{own}.logit_scale", f"{own}.visual_projection.", "objectness_head.")

    def caption(self, text: str) -> str:
        """Returns the phrase as it is."""
        return text

    def max_tokens(self, config: Any) -> int:
        """Returns the number of CLIP's positions."""
        return int(config.text_config.max_position_embeddings)

    def encode_image(self, model: Any, pixels: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """Returns the map (B, h, w, C) of the image encoder."""
        return (model.image_embedder(pixel_values=pixels)[0],)

    def encode_text(self, model: Any, ids: Tensor, mask: Tensor) -> TextFeatures:
        """Returns the embedding of each phrase as its sentence, of length 1."""
        clip = getattr(model, model.base_model_prefix)
        read = clip.text_model(input_ids=ids, attention_mask=mask.long())
        sentence = clip.text_projection(read.pooler_output)
        return TextFeatures(
            words=read.last_hidden_state, mask=mask, sentence=sentence / sentence.norm(dim=-1, keepdim=True)
        )

    def decode(self, model: Any, visual: VisualFeatures, text: TextFeatures, *, min_score: float) -> Output:
        """Returns the area of the boxes that fit, and the score of the best."""
        feature_map = visual.maps[0]
        patches = feature_map.flatten(1, 2)
        logits, _ = model.class_predictor(patches, text.sentence[:, None], text.mask[:, :1])
        boxes = model.box_predictor(patches, feature_map)
        scores = logits[..., 0].float().sigmoid()
        taken = chosen(scores, min_score=min_score)
        return Output(
            logits=areas(boxes, taken, visual.padding),
            scores=scores.amax(1),
            extras={"logits": logits, "boxes": boxes},
        )

    def loss(self, model: Any, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns "class", "box" and "giou"."""
        boxes, _ = instance_targets(batch)
        predicted = SetPredictions(logits=output.extras["logits"], boxes=output.extras["boxes"])
        one = torch.ones((len(boxes), 1), dtype=torch.bool, device=predicted.boxes.device)
        targets = SetTargets(boxes=boxes, positive=one, compared=one)
        return set_losses(predicted, targets, weights=_WEIGHTS, match_weights=_WEIGHTS)
