"""Builds ZSI from the `model` section of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from risctl.core.encoders.text.query_word import QueryWordEmbedding
from risctl.core.encoders.visual.registry import build_visual
from risctl.core.heads.background_rpn import BackgroundRPN, PlainRPN, ProposalFilter
from risctl.core.heads.box_conventions import BoxConvention
from risctl.core.heads.semantic_box import SemanticBoxHead
from risctl.core.heads.semantic_mask import SemanticMaskHead
from risctl.data.transforms.preprocess import BoundedSidesPreprocess
from risctl.errors import RecipeError, UsageError
from risctl.language.class_vectors import BACKGROUND
from risctl.language.coco_classes import CLASSES, SPLITS
from risctl.language.vocabulary import UNK_ID, Vocabulary
from risctl.systems.zsi.config import ZSIModel
from risctl.systems.zsi.model import ZSI

_STRIDE = 32
WORD_NORM = 0.76663
"""The norm of every word vector that the published code compares with."""


def build_zsi(model: ZSIModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> ZSI:
    """Builds the ZSI that a `model` section describes; arguments as in `risctl.systems.registry.build_system`.

    The first `vocabulary_words` words of `vocabulary` are those of the semantic encoder; a word without a vector has
    zeros and is not compared with. Without `vectors` all word vectors are zeros, for a checkpoint to fill in.
    """
    dim, split = model.text.dim, SPLITS[model.split]
    if vectors is not None and vectors.shape != (len(vocabulary), dim):
        raise UsageError(f"expected word vectors of shape {(len(vocabulary), dim)}, got {vectors.shape}")
    given = torch.zeros(len(vocabulary), dim)
    background = torch.zeros(1, dim)
    if vectors is not None:
        read = torch.as_tensor(vectors, dtype=torch.float32)
        given = of_one_length(read)
        background = background_vector(vocabulary, read)
        given[[number for number, word in enumerate(vocabulary.words) if word == BACKGROUND]] = 0.0  # no word to ask
    first = torch.zeros(model.vocabulary_words, dim)
    own = given[UNK_ID + 1 :][: model.vocabulary_words]
    first[: len(own)] = own
    classes = (*split.seen, *split.unseen)
    seen, unseen = torch.zeros(len(split.seen) + 1, dim), torch.zeros(len(split.unseen) + 1, dim)
    if vectors is not None:
        of_classes = class_vectors(classes, vocabulary, given)
        if model.class_vectors == "one_hot":
            background, of_classes = one_hot_vectors(len(classes), dim=dim)
        seen = torch.cat([background, of_classes[: len(split.seen)]])
        unseen = torch.cat([background, of_classes[len(split.seen) :]])
    rpn = BackgroundRPN(model.channels, dim=dim) if model.background_rpn else PlainRPN(model.channels)
    if vectors is not None:
        rpn.set_background(seen[0])
    backbone: Any = build_visual(model.visual, pretrained=pretrained)
    return ZSI(
        preprocess=BoundedSidesPreprocess(
            short=model.short_side,
            longest=model.long_side,
            multiple=_STRIDE,
            max_words=model.max_words,
            vocabulary=vocabulary,
        ),
        visual=backbone,
        visual_channels=backbone.channels,
        channels=model.channels,
        rpn=rpn,
        box_head=SemanticBoxHead(
            model.channels,
            hidden=model.hidden,
            classes=len(split.seen),
            vocabulary=first,
            encoder_std=model.encoder_std,
            decoder=model.box_decoder,
        ),
        mask_head=SemanticMaskHead(
            model.channels, dim=dim, tower=model.tower, kernel=model.encoder_kernel, decoder=model.mask_decoder
        ),
        text=QueryWordEmbedding(vocabulary, given, classes=classes),
        seen=seen,
        unseen=unseen,
        conventions=BoxConvention(model.conventions),
        proposing=_proposal_filter(model.proposals),
        training_proposing=_proposal_filter(model.training_proposals),
        border_anchors=model.border_anchors,
        loss_pooling=model.loss_pooling,
        learned_regions=model.regions,
        learned_masks=model.masks,
        box_background_sync=model.box_background_sync,
        mask_background_sync=model.mask_background_sync,
        unseen_boxes=model.unseen_boxes,
        classes=split,
    )


def _proposal_filter(count: int) -> ProposalFilter:
    return ProposalFilter(pre_nms_count=count, post_nms_count=count, max_count=count)


def class_vectors(names: Sequence[str], vocabulary: Vocabulary, vectors: Tensor) -> Tensor:
    """Returns the vectors of classes, scaled to the published length.

    Args:
        names: N class names. A name of several words has the vector of the joined name ("traffic_light") where there is
            one, else the mean over its words.
        vocabulary: V words.
        vectors: Their vectors, (V, D).

    Returns:
        Vectors of shape (N, D).
    """
    ids = {word: number for number, word in enumerate(vocabulary.words)}
    means = []
    for name in names:
        whole = vectors[ids.get(name.replace(" ", "_"), UNK_ID)]
        words = vectors[[ids.get(word, UNK_ID) for word in name.split()]]
        means.append(whole if whole.any() else words.mean(0))
    return of_one_length(torch.stack(means))


def one_hot_vectors(count: int, *, dim: int) -> tuple[Tensor, Tensor]:
    """Returns a background vector (1, dim) and `count` class vectors (count, dim), no two alike, of the usual length.

    Raises:
        RecipeError: There are more vectors than numbers in each.
    """
    if count + 1 > dim:
        raise RecipeError(f"model.text.dim: expected at least {count + 1} for model.class_vectors=one_hot; got {dim}")
    vectors = WORD_NORM * torch.eye(count + 1, dim)
    return vectors[:1], vectors[1:]


def background_vector(vocabulary: Vocabulary, vectors: Tensor) -> Tensor:
    """Returns the initial background vector (1, D).

    It is the published one where the vectors hold it, else what that is: the mean over those of COCO's 80 classes, seen
    or unseen, that have a vector.
    """
    if BACKGROUND in vocabulary:
        return vectors[[vocabulary.words.index(BACKGROUND)]]
    of_classes = class_vectors(tuple(CLASSES.values()), vocabulary, of_one_length(vectors))
    return of_classes.sum(0, keepdim=True) / of_classes.any(1).sum().clamp(min=1)


def of_one_length(vectors: Tensor) -> Tensor:
    """Returns vectors (N, D) scaled to the published length; zeros stay zeros."""
    return vectors * (WORD_NORM / vectors.norm(dim=1, keepdim=True).clamp(min=1e-6))
