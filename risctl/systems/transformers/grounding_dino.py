"""Grounding DINO (Liu et al., ECCV 2024) and MM Grounding DINO (2024): boxes compared with the tokens of a phrase.

The published loss: each layer of the decoder, and the proposals of the encoder, are matched with the instances on their
own. Its weights, and those of the costs, are read from the model's configuration.
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

_CLASSES = 2.0  # weight of the focal loss, which no configuration holds


class GroundingDino:
    """Grounding DINO and MM Grounding DINO. Image and phrase are mixed from the start: nothing is encoded apart."""

    finds = "boxes"
    visual = ("model.backbone.",)
    text = ("model.text_backbone.",)
    attention = (
        "query", "key", "value", "q_proj", "k_proj", "v_proj", "out_proj", "value_proj", "output_proj",
        "vision_proj", "text_proj", "values_vision_proj", "values_text_proj", "out_vision_proj", "out_text_proj",
    )  # fmt: skip
    min_score = 0.25

    def unused(self, model: Any) -> tuple[str, ...]:
        """Returns the pooler of the text encoder and the last norm of Swin, whose outputs nothing reads."""
        return ("model.text_backbone.pooler.", "model.backbone.conv_encoder.model.swin.layernorm.")

    def caption(self, text: str) -> str:
        """Returns the phrase in lower case, with one full stop, at the end."""
        return f"{' '.join(text.lower().replace('.', ' ').split())}."

    def max_tokens(self, config: Any) -> int:
        """Returns the published length of texts."""
        return int(config.max_text_len)

    def encode_image(self, model: Any, pixels: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """Returns the image."""
        return (pixels,)

    def encode_text(self, model: Any, ids: Tensor, mask: Tensor) -> TextFeatures:
        """Returns the token ids (B, L, 1) as words."""
        return TextFeatures(words=ids[..., None], mask=mask, sentence=ids[:, :1])

    def decode(self, model: Any, visual: VisualFeatures, text: TextFeatures, *, min_score: float) -> Output:
        """Returns the area of the boxes that fit, and the score of the best: that of its best token, as published."""
        ids = text.words[..., 0]
        found = model(
            pixel_values=visual.maps[0],
            pixel_mask=(~visual.padding).long(),
            input_ids=ids,
            attention_mask=text.mask.long(),
            token_type_ids=torch.zeros_like(ids),
            return_dict=True,
        )
        compared, positive = _tokens(model, ids, text.mask, length=found.logits.shape[-1])
        scores = found.logits.float().sigmoid().amax(-1)
        taken = chosen(scores, min_score=min_score)
        return Output(
            logits=areas(found.pred_boxes, taken, visual.padding),
            scores=scores.amax(1),
            extras={
                "logits": found.logits,
                "boxes": found.pred_boxes,
                "compared": compared,
                "positive": positive,
                "layers": _earlier_layers(model, found, text.mask) if self._learns(model) else (),
            },
        )

    def loss(self, model: Any, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns "class", "box" and "giou" of the last layer, and "layers", all terms of the others together."""
        boxes, _ = instance_targets(batch)
        extras, config = output.extras, model.config
        targets = SetTargets(boxes=boxes, positive=extras["positive"], compared=extras["compared"])
        weights = {
            "weights": SetWeights(
                classes=_CLASSES, box=config.bbox_loss_coefficient, giou=config.giou_loss_coefficient
            ),
            "match_weights": SetWeights(classes=config.class_cost, box=config.bbox_cost, giou=config.giou_cost),
        }
        terms = set_losses(SetPredictions(logits=extras["logits"], boxes=extras["boxes"]), targets, **weights)
        others = [value for one in extras["layers"] for value in set_losses(one, targets, **weights).values()]
        return terms | ({"layers": torch.stack(others).sum()} if others else {})

    def _learns(self, model: Any) -> bool:
        return bool(torch.is_grad_enabled() and model.training)


def _tokens(model: Any, ids: Tensor, mask: Tensor, *, length: int) -> tuple[Tensor, Tensor]:
    """Returns which tokens count, and which of them are the phrase's own, bool (N, `length`) each."""
    compared = torch.zeros((len(ids), length), dtype=torch.bool, device=ids.device)
    compared[:, : mask.shape[1]] = mask
    positive = compared.clone()
    positive[:, : mask.shape[1]] &= ~torch.isin(ids, model.model.special_tokens)
    return compared, positive


def _earlier_layers(model: Any, found: Any, mask: Tensor) -> tuple[SetPredictions, ...]:
    """Returns the predictions of the decoder's layers but the last, and of the encoder's proposals."""
    states = found.intermediate_hidden_states
    layers = []
    for layer in range(states.shape[1] - 1):
        before = found.init_reference_points if layer == 0 else found.intermediate_reference_points[:, layer - 1]
        logits = model.class_embed[layer](
            vision_hidden_state=states[:, layer],
            text_hidden_state=found.encoder_last_hidden_state_text,
            text_token_mask=mask,
        )
        offset = model.bbox_embed[layer](states[:, layer])
        boxes = (offset + torch.special.logit(before, eps=1e-5)).sigmoid()
        layers.append(SetPredictions(logits=logits, boxes=boxes))
    if found.enc_outputs_class is not None:
        # The cells that the decoder starts from. The library's own loss takes the decoder's queries and boxes without a
        # gradient in their place, so that nothing would teach the encoder what to propose.
        best = found.enc_outputs_class.amax(-1).topk(states.shape[2], dim=1).indices[..., None]
        logits = found.enc_outputs_class.gather(1, best.expand(-1, -1, found.enc_outputs_class.shape[-1]))
        boxes = found.enc_outputs_coord_logits.gather(1, best.expand(-1, -1, 4)).sigmoid()
        layers.append(SetPredictions(logits=logits, boxes=boxes))
    return tuple(layers)
