"""Predicts zero-shot: Global-Local CLIP selects one of an image's mask proposals for each expression.

An image, its proposals and each text are encoded once.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from risctl.core.fusion import global_local
from risctl.core.fusion.spatial import rerank
from risctl.errors import UsageError, unknown_name
from risctl.language.clip_tokens import ClipTokens
from risctl.language.noun_phrases import NounPhrase, Phraser
from risctl.language.spatial_words import place_of
from risctl.results import Prediction
from risctl.systems.global_local_clip.explain import ProposalScores, explain_scores
from risctl.systems.global_local_clip.load_image_text import LibraryTokens
from risctl.systems.global_local_clip.model import (
    METHODS,
    TEXT_WEIGHT,
    VISUAL_WEIGHT,
    EncodedProposals,
    GlobalLocalCLIP,
    Method,
)
from risctl.vision import rle
from risctl.zeroshot.proposals.base import InputImage, Proposals, ProposalSource

PROMPTS = ("{}", "a photo of {}", "a picture of {}", "a photo of the {}", "{} in the scene")
_TEXT_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategies:
    """Extensions beyond the paper; the default is the paper.

    Attributes:
        prompts: Templates with a {} for the expression, whose features are averaged (CLIP, section 3.1.4).
        negative: Texts whose similarity is subtracted (the negative texts of CaR and Ref-Diff).
        negative_weight: The factor of what is subtracted.
        spatial: Weight of the location that an expression names (HybridGL); 0 for none.
    """

    prompts: tuple[str, ...] = ("{}",)
    negative: tuple[str, ...] = ()
    negative_weight: float = 0.5
    spatial: float = 0.0

    def __post_init__(self) -> None:
        if not self.prompts or not all("{}" in prompt for prompt in self.prompts):
            raise UsageError("a prompt is a text with {} where the expression goes, such as 'a photo of {}'")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotPrediction:
    """The mask of an expression, and how it was selected.

    Attributes:
        prediction: The mask and its score.
        noun_phrase: The noun phrase that the expression was read as; the whole expression where nothing is parsed.
        chosen: The index of the selected proposal; None if there were none.
        scores: Float32 (N,), one per proposal, higher is better.
    """

    prediction: Prediction
    noun_phrase: str
    chosen: int | None
    scores: np.ndarray


class ZeroShotModel(Protocol):
    """Predicts without training on the task: with proposals, or as a text-prompted network.

    `seconds` holds the time spent so far, by part: proposals, visual, text.
    """

    seconds: dict[str, float]

    def describe(self) -> str:
        """Returns one line on what predicts."""

    def set_image(self, image: InputImage) -> Proposals:
        """Sets the image of the following predictions and returns its proposals, none where none are needed."""

    def predict(self, texts: Sequence[str]) -> list[ZeroShotPrediction]:
        """Returns one prediction per expression for the current image."""

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than what the text encoder reads."""


@dataclass(slots=True)
class _CurrentImage:
    image: InputImage
    proposals: Proposals
    encoded: EncodedProposals | None = None
    centres: Tensor = field(default_factory=lambda: torch.zeros(0, 2))


class ZeroShotPredictor:
    """Selects among mask proposals by CLIP (Yu et al., CVPR 2023).

    `seconds` holds the time spent so far on proposals, visual features and texts.
    """

    def __init__(
        self,
        system: GlobalLocalCLIP,
        *,
        tokens: ClipTokens | LibraryTokens,
        phraser: Phraser,
        source: ProposalSource,
        method: Method = "global-local",
        visual_weight: float = VISUAL_WEIGHT,
        text_weight: float = TEXT_WEIGHT,
        shortlist: int | None = None,
        strategies: Strategies | None = None,
    ) -> None:
        """Composes the predictor.

        Args:
            system: CLIP with the paper's features.
            tokens: CLIP's tokenizer.
            phraser: Finds the noun phrase of an expression.
            source: Finds the proposals of an image.
            method: The paper's method, or one of its baselines.
            visual_weight: Weight of the global visual feature (alpha in the paper).
            text_weight: Weight of the expression against its noun phrase (beta in the paper).
            shortlist: How many proposals per expression get local features; None for all (exact).
            strategies: Extensions beyond the paper.

        Raises:
            UsageError: An unknown method, or a shortlist with another method than "global-local".
        """
        if method not in METHODS:
            raise UsageError(unknown_name("method", method, METHODS))
        if shortlist is not None and method != "global-local":
            raise UsageError(f"--fast is a way to compute the method global-local; leave it out for {method}")
        self.seconds: dict[str, float] = defaultdict(float)
        self.system = system
        self.method: Method = method
        self.shortlist = shortlist
        self.strategies = strategies or Strategies()
        self._tokens, self._phraser, self._source = tokens, phraser, source
        self._visual_weight = visual_weight
        self._text_weight = text_weight
        self._features: dict[str, Tensor] = {}
        self._current_image: _CurrentImage | None = None

    def describe(self) -> str:
        """Returns one line: the method, its weights, the source of proposals, the parser."""
        kind = "ResNet" if self.system.clip.is_resnet else "ViT"
        visual = f"visual {self._visual_weight:g}, " if self.method == "global-local" else ""
        fast = "" if self.shortlist is None else f", fast: {self.shortlist} with local features"
        return (
            f"{self.method} ({kind} CLIP, weights: {visual}text {self._text_weight:g}{fast}); "
            f"proposals: {self._source.name}; noun phrases: {self._phraser.name}"
        )

    def set_image(self, image: InputImage) -> Proposals:
        """Sets the image of the following predictions and returns its proposals, found once for all expressions."""
        with self._timed("proposals"):
            proposals = self._source(image)
        self._current_image = _CurrentImage(image, proposals)
        return proposals

    def predict(self, texts: Sequence[str]) -> list[ZeroShotPrediction]:
        """Returns one prediction per expression; without proposals the mask is empty and the score 0.

        Raises:
            UsageError: No image is set.
        """
        current = self._current()
        phrases = self.noun_phrases(texts)
        if not len(current.proposals):
            return [self._prediction(text, phrase, None) for text, phrase in zip(texts, phrases, strict=True)]
        every = self._ranked(texts, phrases, shortlist=self.shortlist)
        return [self._prediction(text, phrase, row) for text, phrase, row in zip(texts, phrases, every, strict=True)]

    def exact_choices(self, texts: Sequence[str]) -> list[int]:
        """Returns the proposals that would be selected without a shortlist; the image needs at least one proposal.

        The time is not counted in `seconds`.
        """
        spent = dict(self.seconds)
        ranked = self._ranked(texts, self.noun_phrases(texts), shortlist=None)
        self.seconds.update(spent)
        return ranked.argmax(1).tolist()

    def _ranked(self, texts: Sequence[str], phrases: Sequence[NounPhrase], *, shortlist: int | None) -> np.ndarray:
        """Returns the scores (T, N) of the current proposals, extensions included."""
        with self._timed("text"):
            joined = self._text_features(texts, phrases)
            negative = self._prompted(list(self.strategies.negative)) if self.strategies.negative else None
        with self._timed("visual"):
            scores = self._scores(joined, shortlist)
            if negative is not None:
                scores = scores - self.strategies.negative_weight * self._negative_scores(scores, negative, shortlist)
        if self.strategies.spatial:
            weight = self.strategies.spatial
            scores = torch.stack(
                [
                    rerank(row, self._centres(), place_of(text), weight=weight)
                    for row, text in zip(scores, texts, strict=True)
                ]
            )
        return scores.cpu().numpy()

    def noun_phrases(self, texts: Sequence[str]) -> list[NounPhrase]:
        """Returns the noun phrase of each expression."""
        with self._timed("text"):
            return self._phraser.many(texts)

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than CLIP reads."""
        return self._tokens.is_cut(text)

    def explain(self, made: ZeroShotPrediction, *, max_count: int = 8) -> list[ProposalScores]:
        """Returns the scores of the best proposals for a prediction that was made for the current image.

        Args:
            made: A prediction of the current image.
            max_count: How many proposals are explained.

        Returns:
            The best proposals, best first; none if there was nothing to select from.
        """
        if made.chosen is None:
            return []
        return explain_scores(
            self._encoded(),
            made.scores,
            sentence=self._prompted([made.prediction.text]),
            noun=self._prompted([made.noun_phrase]),
            visual_weight=self._visual_weight,
            max_count=max_count,
        )

    @property
    def proposals(self) -> Proposals:
        """The proposals of the current image."""
        return self._current().proposals

    def _current(self) -> _CurrentImage:
        if self._current_image is None:
            raise UsageError("no image is set: call set_image(image) first")
        return self._current_image

    def _encoded(self) -> EncodedProposals:
        current = self._current()
        if current.encoded is None:
            current.encoded = self.system.encode_image(current.image.pixels, current.proposals.masks)
        return current.encoded

    def _scores(self, texts: Tensor, shortlist: int | None) -> Tensor:
        encoded, weight = self._encoded(), self._visual_weight
        if shortlist is not None:
            return self.system.score_shortlist(encoded, texts, visual_weight=weight, shortlist=shortlist)
        return self.system.score_with(self.method, encoded, texts, visual_weight=weight)

    def _negative_scores(self, scores: Tensor, negative: Tensor, shortlist: int | None) -> Tensor:
        """Returns the mean score (N,) of the negative texts, 0 for proposals that are on no shortlist."""
        if shortlist is None:
            return self._scores(negative, None).mean(0)
        listed = torch.isfinite(scores).any(0).nonzero().flatten().tolist()
        means = torch.zeros_like(scores[0])
        means[listed] = self.system.score_subset(
            self._encoded(), negative, listed, visual_weight=self._visual_weight
        ).mean(0)
        return means

    def _centres(self) -> Tensor:
        current = self._current()
        if len(current.centres) != len(current.proposals):
            height, width = current.image.size
            boxes = global_local.mask_boxes(self._encoded().masks)
            current.centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / torch.tensor([width, height], device=boxes.device)
        return current.centres

    def _text_features(self, texts: Sequence[str], phrases: Sequence[NounPhrase]) -> Tensor:
        nouns = [phrase.phrase for phrase in phrases]
        # One pass over all that is new, so that batches are full.
        features = self._prompted([*texts, *nouns])
        return global_local.combine(features[: len(texts)], features[len(texts) :], self._text_weight)

    def _prompted(self, texts: Sequence[str]) -> Tensor:
        """Returns the features (N, E) of N texts, each averaged over the prompts."""
        every = [prompt.format(text) for text in texts for prompt in self.strategies.prompts]
        new = [text for text in dict.fromkeys(every) if text not in self._features]
        for start in range(0, len(new), _TEXT_BATCH):
            some = new[start : start + _TEXT_BATCH]
            self._features.update(zip(some, self.system.encode_text(*self._tokens(some)), strict=True))
        stacked = torch.stack([self._features[text] for text in every])
        return stacked.unflatten(0, (len(texts), -1)).mean(1)

    def _prediction(self, text: str, phrase: NounPhrase, scores: np.ndarray | None) -> ZeroShotPrediction:
        current = self._current()
        if scores is None:
            mask, chosen, score = np.zeros(current.image.size, dtype=bool), None, 0.0
            scores = np.zeros(0, dtype=np.float32)
        else:
            chosen = int(np.argmax(scores))
            mask = current.proposals.masks[chosen]
            finite = scores[np.isfinite(scores)].astype(np.float64)
            score = float(1 / np.exp(finite - scores[chosen]).sum())
        return ZeroShotPrediction(
            prediction=Prediction(
                text=text,
                probability=mask.astype(np.float32),
                threshold=0.5,
                score=score,
                box=rle.box(rle.encode(mask)) if mask.any() else None,
                image=current.image.pixels,
            ),
            noun_phrase=phrase.phrase,
            chosen=chosen,
            scores=scores,
        )

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] += time.perf_counter() - began
