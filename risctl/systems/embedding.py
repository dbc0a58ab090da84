"""The word vectors of a system, as the `model.text` section asks for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from risctl.core.encoders.text.embedding import FrozenVectors, LearnedVectors
from risctl.errors import UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.systems.vlt.config import TextSection


def word_embedding(section: TextSection, vocabulary: Vocabulary, vectors: np.ndarray | None) -> nn.Module:
    """Return what maps word ids (B, L) to vectors (B, L, dim), filled with `vectors` (len(vocabulary), dim) if given.

    Raises `UsageError` for vectors of another shape.
    """
    shape = (len(vocabulary), section.dim)
    initial: Tensor | None = None
    if vectors is not None:
        if vectors.shape != shape:
            raise UsageError(f"expected word vectors (words, model.text.dim) = {shape}, got {vectors.shape}")
        initial = torch.as_tensor(vectors, dtype=torch.float32)
    elif section.vectors is not None:
        initial = torch.zeros(shape)
    if initial is not None and section.freeze_vectors:
        return FrozenVectors(initial.clone())
    return LearnedVectors(*shape, initial=initial)
