"""The toy system: one convolution of the image, gated by the mean word embedding."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.batch import Batch, Preprocess
from risctl.systems.base import Output, System


class Toy(System):
    """Built of numbers and of what fits its input; knows no recipe."""

    not_exported = "it is an example, kept to the parts that every system has"

    def __init__(self, *, preprocess: Preprocess, words: int, channels: int) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.visual = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.text = nn.Embedding(words, channels, padding_idx=0)
        self.head = nn.Conv2d(channels, 1, 1)

    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        return VisualFeatures(maps=(self.visual(images),), strides=(2,), padding=padding)

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        vectors = self.text(words)
        return TextFeatures(words=vectors, mask=word_mask, sentence=vectors.sum(1) / word_mask.sum(1, keepdim=True))

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        return Output(logits=self.head(visual.maps[0] * (1 + text.sentence[:, :, None, None]))[:, 0])

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        assert batch.targets is not None
        return {"mask": functional.binary_cross_entropy_with_logits(output.logits, batch.targets)}
