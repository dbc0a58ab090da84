"""SAM 3 (2025): every instance that fits a phrase, and whether there is any."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.losses.concept_instances import ConceptPredictions, concept_losses
from risctl.data.batch import Batch
from risctl.systems.base import Output
from risctl.systems.transformers.boxes import chosen
from risctl.systems.transformers.families import instance_targets

_ABSENT = -10.0  # logit of a pixel of what was not chosen


class Sam3:
    """SAM 3, prompted by text alone."""

    finds = "masks"
    visual = ("vision_encoder.",)
    text = ("text_encoder.", "text_projection.")
    attention = ("q_proj", "k_proj", "v_proj", "o_proj", "out_proj")
    min_score = 0.3

    def unused(self, model: Any) -> tuple[str, ...]:
        """Returns what reads boxes as prompts, the coarsest level, and what makes a map or a sentence of the whole."""
        levels = len(model.vision_encoder.neck.fpn_layers)
        return (
            "geometry_encoder.",
            "mask_decoder.semantic_projection.",
            "text_encoder.text_projection.",
            f"vision_encoder.neck.fpn_layers.{levels - 1}.",
        )

    def caption(self, text: str) -> str:
        """Returns the phrase as it is."""
        return text

    def max_tokens(self, config: Any) -> int:
        """Returns the number of positions of the text encoder."""
        return int(config.text_config.max_position_embeddings)

    def encode_image(self, model: Any, pixels: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """Returns the levels of the pyramid, then their encodings of place, each (B, C, h, w)."""
        vision = model.get_vision_features(pixels)
        return (*vision.fpn_hidden_states, *vision.fpn_position_encoding)

    def encode_text(self, model: Any, ids: Tensor, mask: Tensor) -> TextFeatures:
        """Returns the words as the decoder reads them; they have no sentence of their own."""
        words = model.get_text_features(input_ids=ids, attention_mask=mask.long()).pooler_output
        return TextFeatures(words=words, mask=mask, sentence=words[:, 0])

    def decode(self, model: Any, visual: VisualFeatures, text: TextFeatures, *, min_score: float) -> Output:
        """Returns the union of the instances that fit, and the score of the best times that of presence."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        levels = len(visual.maps) // 2
        found = model(
            vision_embeds=Sam3VisionEncoderOutput(
                fpn_hidden_states=visual.maps[:levels], fpn_position_encoding=visual.maps[levels:]
            ),
            text_embeds=BaseModelOutputWithPooling(pooler_output=text.words),
            attention_mask=text.mask.long(),
        )
        presence = found.presence_logits[:, 0]
        scores = found.pred_logits.float().sigmoid() * presence.float().sigmoid()[:, None]
        taken = chosen(scores, min_score=min_score)
        masks = found.pred_masks.float().masked_fill(~taken[..., None, None], _ABSENT)
        return Output(
            logits=masks.amax(1),
            scores=scores.amax(1),
            extras={
                "scores": found.pred_logits,
                "presence": presence,
                "boxes": found.pred_boxes,
                "masks": found.pred_masks,
            },
        )

    def loss(self, model: Any, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns "class", "presence", "box", "giou", "mask" and "dice"."""
        boxes, masks = instance_targets(batch)
        corners = output.extras["boxes"]
        start, stop = corners[..., :2], corners[..., 2:]
        predicted = ConceptPredictions(
            scores=output.extras["scores"],
            presence=output.extras["presence"],
            boxes=torch.cat([(start + stop) / 2, stop - start], -1),
            masks=output.extras["masks"],
        )
        return concept_losses(predicted, boxes, masks)
