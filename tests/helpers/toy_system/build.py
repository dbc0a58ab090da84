"""Builds the toy system from its section."""

from __future__ import annotations

import numpy as np
from helpers.toy_system.config import ToyModel
from helpers.toy_system.model import Toy

from risctl.data.transforms.preprocess import LetterboxPreprocess
from risctl.language.vocabulary import Vocabulary


def build_toy(model: ToyModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> Toy:
    del vectors, pretrained
    preprocess = LetterboxPreprocess(
        size=model.input_size,
        fill=0.5,
        target_size=model.input_size // 2,
        max_words=model.max_words,
        vocabulary=vocabulary,
    )
    return Toy(preprocess=preprocess, words=len(vocabulary), channels=model.channels)
