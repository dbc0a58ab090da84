"""CLIPSeg (Lüddecke and Ecker, CVPR 2022): one map of probabilities a phrase, learned by binary cross-entropy."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.losses.mask import mean_cross_entropy
from risctl.data.batch import Batch
from risctl.systems.base import Output


class ClipSeg:
    """CLIPSeg; its decoder reads maps of some layers of CLIP's image encoder, and CLIP's embedding of the phrase."""

    finds = "masks"
    visual = ("clip.vision_model.",)
    text = ("clip.text_model.", "clip.text_projection.")
    attention = ("q_proj", "k_proj", "v_proj", "out_proj")
    min_score = None

    def unused(self, model: Any) -> tuple[str, ...]:
        """Returns what CLIP compares images and texts by, and the image encoder's layers after the last one read."""
        last, layers = max(model.extract_layers), len(model.clip.vision_model.encoder.layers)
        return (
            "clip.logit_scale",
            "clip.visual_projection.",
            "clip.vision_model.post_layernorm.",
            *(f"clip.vision_model.encoder.layers.{number}." for number in range(last + 1, layers)),
        )

    def caption(self, text: str) -> str:
        """Returns the phrase as it is."""
        return text

    def max_tokens(self, config: Any) -> int:
        """Returns the number of CLIP's positions."""
        return int(config.text_config.max_position_embeddings)

    def encode_image(self, model: Any, pixels: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """Returns the maps (B, L, C) of the layers that the decoder reads."""
        output = model.clip.vision_model(pixel_values=pixels, output_hidden_states=True, interpolate_pos_encoding=True)
        # The first of the hidden states are the embeddings.
        return tuple(output.hidden_states[layer + 1] for layer in model.extract_layers)

    def encode_text(self, model: Any, ids: Tensor, mask: Tensor) -> TextFeatures:
        """Returns CLIP's embedding of each phrase as its sentence."""
        read = model.clip.text_model(input_ids=ids, attention_mask=mask.long())
        return TextFeatures(
            words=read.last_hidden_state, mask=mask, sentence=model.clip.text_projection(read.pooler_output)
        )

    def decode(self, model: Any, visual: VisualFeatures, text: TextFeatures, *, min_score: float) -> Output:
        """Returns logits (N, H, W) of the input's size."""
        logits = model.decoder(list(visual.maps), text.sentence).logits
        return Output(logits=logits.reshape(len(text.mask), *logits.shape[-2:]))

    def loss(self, model: Any, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns "mask": the binary cross-entropy, averaged over pixels."""
        if batch.targets is None:
            raise ValueError("expected a batch with targets")
        return {"mask": mean_cross_entropy(output.logits, batch.targets, None)}
