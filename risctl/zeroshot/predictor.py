"""Zero-shot answers: proposals, a CLIP and a parser put together, each picture and each text encoded once."""

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
from risctl.systems.global_local_clip.model import (
    METHODS,
    TEXT_WEIGHT,
    VISUAL_WEIGHT,
    EncodedImage,
    GlobalLocalCLIP,
    Method,
)
from risctl.vision import rle
from risctl.zeroshot.proposals.base import Picture, Proposals, ProposalSource

PROMPTS = ("{}", "a photo of {}", "a picture of {}", "a photo of the {}", "{} in the scene")
_TEXT_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategies:
    """What is done beyond the paper; the default is the paper.

    prompts: texts with a {} whose features are averaged (CLIP, section 3.1.4); negative: texts whose similarity is
    taken off, times `negative_weight` (the negative text of CaR and Ref-Diff); spatial: the weight of the place that
    the text names (HybridGL), 0 for none.
    """

    prompts: tuple[str, ...] = ("{}",)
    negative: tuple[str, ...] = ()
    negative_weight: float = 0.5
    spatial: float = 0.0

    def __post_init__(self) -> None:
        if not self.prompts or not all("{}" in one for one in self.prompts):
            raise UsageError("a prompt is a text with {} where the expression goes, such as 'a photo of {}'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A proposal beside a text: its score, and those of its parts (cosines, NaN where they were not computed)."""

    proposal: int
    score: float
    context: float
    local: float
    sentence: float
    noun: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a text means among proposals. chosen: None if there are none; scores (N,), higher is better."""

    prediction: Prediction
    phrase: str
    chosen: int | None
    scores: np.ndarray


class Answerer(Protocol):
    """What can be asked about pictures in the zero-shot seat."""

    seconds: dict[str, float]

    def describe(self) -> str:
        """Return one line on what answers."""

    def look(self, picture: Picture) -> Proposals:
        """Take a picture in hand, and return its proposals (none for systems that need none)."""

    def answers(self, texts: Sequence[str]) -> list[Answer]:
        """Return an answer a text about the picture in hand."""

    def is_cut(self, text: str) -> bool:
        """Return whether `text` is longer than what answers reads."""


@dataclass(slots=True)
class _InHand:
    picture: Picture
    proposals: Proposals
    encoded: EncodedImage | None = None
    centres: Tensor = field(default_factory=lambda: torch.zeros(0, 2))


class ZeroShot:
    """Chooses among proposals by CLIP. `seconds`: what was spent on proposals, visual features and texts so far."""

    def __init__(
        self,
        system: GlobalLocalCLIP,
        *,
        tokens: ClipTokens,
        phraser: Phraser,
        source: ProposalSource,
        method: Method = "global-local",
        visual_weight: float = VISUAL_WEIGHT,
        shortlist: int | None = None,
        strategies: Strategies | None = None,
    ) -> None:
        """shortlist: how many proposals are looked at alone for each text, None for all (exact)."""
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
        self._features: dict[str, Tensor] = {}
        self._in_hand: _InHand | None = None

    def describe(self) -> str:
        """Return one line: method, weights, what proposes, what parses."""
        kind = "ResNet" if self.system.clip.is_resnet else "ViT"
        visual = f"visual {self._visual_weight:g}, " if self.method == "global-local" else ""
        fast = "" if self.shortlist is None else f", fast: {self.shortlist} looked at alone"
        return (
            f"{self.method} ({kind} CLIP, weights: {visual}text {TEXT_WEIGHT:g}{fast}); "
            f"proposals: {self._source.name}; noun phrases: {self._phraser.name}"
        )

    def look(self, picture: Picture) -> Proposals:
        """Take a picture in hand: find its proposals, once for all its texts."""
        with self._timed("proposals"):
            found = self._source(picture)
        self._in_hand = _InHand(picture, found)
        return found

    def answers(self, texts: Sequence[str]) -> list[Answer]:
        """Return an answer a text about the picture in hand; without a proposal the mask is empty and the score 0."""
        hand = self._hand()
        phrases = self.phrases(texts)
        if not len(hand.proposals):
            return [self._answer(text, phrase, None) for text, phrase in zip(texts, phrases, strict=True)]
        every = self._ranked(texts, phrases, shortlist=self.shortlist)
        return [self._answer(text, phrase, row) for text, phrase, row in zip(texts, phrases, every, strict=True)]

    def exact_choices(self, texts: Sequence[str]) -> list[int]:
        """Return which proposals would be chosen for the picture in hand without a shortlist, at least one there.

        What it takes is not counted in `seconds`.
        """
        spent = dict(self.seconds)
        ranked = self._ranked(texts, self.phrases(texts), shortlist=None)
        self.seconds.update(spent)
        return ranked.argmax(1).tolist()

    def _ranked(self, texts: Sequence[str], phrases: Sequence[NounPhrase], *, shortlist: int | None) -> np.ndarray:
        """Return the scores (T, N) of the proposals in hand, strategies and all."""
        with self._timed("text"):
            joined = self._text_features(texts, phrases)
            negative = self._prompted(list(self.strategies.negative)) if self.strategies.negative else None
        with self._timed("visual"):
            scores = self._scores(joined, shortlist)
            if negative is not None:
                scores = scores - self.strategies.negative_weight * self._taken_off(scores, negative, shortlist)
        if self.strategies.spatial:
            places = [place_of(text) for text in texts]
            rows = zip(scores, places, strict=True)
            weight = self.strategies.spatial
            scores = torch.stack([rerank(row, self._centres(), place, weight=weight) for row, place in rows])
        return scores.cpu().numpy()

    def phrases(self, texts: Sequence[str]) -> list[NounPhrase]:
        """Return the noun phrase of each text."""
        with self._timed("text"):
            return self._phraser.many(texts)

    def is_cut(self, text: str) -> bool:
        """Return whether `text` is longer than CLIP reads."""
        return self._tokens.is_cut(text)

    def explain(self, answer: Answer, *, most: int = 8) -> list[Candidate]:
        """Return the best proposals of an answer about the picture in hand, with the scores of their parts."""
        if answer.chosen is None:
            return []
        encoded = self._encoded()
        order = np.argsort(-answer.scores, kind="stable")[:most]
        chosen = [int(one) for one in order if np.isfinite(answer.scores[one])]
        text = answer.prediction.text
        sentence, noun = self._prompted([text]), self._prompted([answer.phrase])
        joined = global_local.combine(sentence, noun, TEXT_WEIGHT)
        with torch.no_grad():
            local, context = encoded.local_of(chosen), encoded.context[chosen]
            both = global_local.combine(context, local, self._visual_weight)
            parts = [
                global_local.scores(visual, one, torch.zeros(()), normalise=True)[0].tolist()
                for visual, one in ((context, joined), (local, joined), (both, sentence), (both, noun))
            ]
        return [
            Candidate(proposal=one, score=float(answer.scores[one]), context=a, local=b, sentence=c, noun=d)
            for one, a, b, c, d in zip(chosen, *parts, strict=True)
        ]

    @property
    def picture(self) -> Picture:
        """The picture in hand."""
        return self._hand().picture

    @property
    def proposals(self) -> Proposals:
        """The proposals of the picture in hand."""
        return self._hand().proposals

    def _hand(self) -> _InHand:
        if self._in_hand is None:
            raise UsageError("no picture in hand: call look(picture) first")
        return self._in_hand

    def _encoded(self) -> EncodedImage:
        hand = self._hand()
        if hand.encoded is None:
            hand.encoded = self.system.encode_image(hand.picture.pixels, hand.proposals.masks)
        return hand.encoded

    def _scores(self, texts: Tensor, shortlist: int | None) -> Tensor:
        encoded, weight = self._encoded(), self._visual_weight
        if shortlist is not None:
            return self.system.score_shortlist(encoded, texts, visual_weight=weight, shortlist=shortlist)
        return self.system.score_by(self.method, encoded, texts, visual_weight=weight)

    def _taken_off(self, scores: Tensor, negative: Tensor, shortlist: int | None) -> Tensor:
        """Return the mean score (N,) of the negative texts, 0 for proposals that are on no text's shortlist."""
        if shortlist is None:
            return self._scores(negative, None).mean(0)
        chosen = torch.isfinite(scores).any(0).nonzero().flatten().tolist()
        found = torch.zeros_like(scores[0])
        found[chosen] = self.system.score_some(
            self._encoded(), negative, chosen, visual_weight=self._visual_weight
        ).mean(0)
        return found

    def _centres(self) -> Tensor:
        hand = self._hand()
        if len(hand.centres) != len(hand.proposals):
            height, width = hand.picture.size
            boxes = global_local.boxes(self._encoded().masks)
            hand.centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / torch.tensor([width, height], device=boxes.device)
        return hand.centres

    def _text_features(self, texts: Sequence[str], phrases: Sequence[NounPhrase]) -> Tensor:
        nouns = [phrase.phrase for phrase in phrases]
        # One pass over all that is new, so that batches are full.
        found = self._prompted([*texts, *nouns])
        return global_local.combine(found[: len(texts)], found[len(texts) :], TEXT_WEIGHT)

    def _prompted(self, texts: Sequence[str]) -> Tensor:
        """Return the features (N, E) of texts, each averaged over the prompts."""
        every = [prompt.format(text) for text in texts for prompt in self.strategies.prompts]
        new = [text for text in dict.fromkeys(every) if text not in self._features]
        for start in range(0, len(new), _TEXT_BATCH):
            some = new[start : start + _TEXT_BATCH]
            self._features.update(zip(some, self.system.encode_ids(*self._tokens(some)), strict=True))
        stacked = torch.stack([self._features[text] for text in every])
        return stacked.unflatten(0, (len(texts), -1)).mean(1)

    def _answer(self, text: str, phrase: NounPhrase, scores: np.ndarray | None) -> Answer:
        hand = self._hand()
        if scores is None:
            mask, chosen, score = np.zeros(hand.picture.size, dtype=bool), None, 0.0
            scores = np.zeros(0, dtype=np.float32)
        else:
            chosen = int(np.argmax(scores))
            mask = hand.proposals.masks[chosen]
            finite = scores[np.isfinite(scores)].astype(np.float64)
            score = float(1 / np.exp(finite - scores[chosen]).sum())
        return Answer(
            prediction=Prediction(
                text=text,
                probability=mask.astype(np.float32),
                threshold=0.5,
                score=score,
                box=rle.box(rle.encode(mask)) if mask.any() else None,
                image=hand.picture.pixels,
            ),
            phrase=phrase.phrase,
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
