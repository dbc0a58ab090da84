"""What a system with an ability of its own keeps to, in addition to `SystemContract`: one class for each ability.

The test class of a system inherits the contract of each of its abilities; `SystemContract` names those that it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.system_contract import TEXTS, TOLERANCE, SystemContract

from risctl.core.encoders import frozen_prefix
from risctl.data.batch import Batch, InstanceTargets, Item, collate
from risctl.data.box_grounding.boxes import BoxTargets
from risctl.errors import UsageError
from risctl.export import check, clips
from risctl.export.formats import as_exported
from risctl.export.trace import trace
from risctl.inference.explanation import ExplainedPrediction
from risctl.results import Detection
from risctl.systems.base import System
from risctl.systems.cacheable import FeatureCacheable
from risctl.systems.explanation import Explainable
from risctl.systems.exportable import Exportable, ExportableClips
from risctl.systems.protocols import (
    BoxGrounder,
    Detector,
    InstanceLearner,
    QuerySelector,
    VideoSystem,
    as_box_grounder,
    as_detector,
    takes_clips,
)
from risctl.vision import rle
from risctl.visualization.explain.sheets import explanation_contact_sheet

EVERY_SCORE = -1.0


class DetectorContract(SystemContract):
    """Of systems that detect categories by name."""

    categories: tuple[str, str] = ("dog", "cup")
    """Two categories that the small system knows."""

    @torch.no_grad()
    def detect(
        self, system: System, *groups: tuple[str, ...], min_score: float = EVERY_SCORE, item: Item | None = None
    ) -> list[Detection]:
        item = item or self.items(system)[0]
        features = system.encode_image(item.image[None], item.geometry.padding()[None])
        return as_detector(system).detect(features, groups, geometry=item.geometry, min_score=min_score)

    def test_detections_lie_in_the_image_by_falling_score(self, system: System) -> None:
        for item in self.items(system):
            height, width = item.geometry.height, item.geometry.width
            detections = self.detect(system, self.categories, item=item)
            scores = [detection.score for detection in detections]
            assert scores and scores == sorted(scores, reverse=True) and 0 <= scores[-1] <= scores[0] <= 1
            for detection in detections:
                assert detection.name in self.categories
                left, top, across, down = detection.box
                assert left >= 0 and top >= 0 and left + across <= width + 1e-3 and top + down <= height + 1e-3
                assert rle.decode(detection.segmentation).shape == (height, width)

    def test_groups_of_categories_do_not_displace_each_other(self, system: System) -> None:
        first, second = self.categories
        assert self.detect(system, (first,), (second,)) == self.detect(system, (first,)) + self.detect(
            system, (second,)
        )

    def test_only_detections_above_the_lowest_score_are_returned(self, system: System) -> None:
        detections = self.detect(system, self.categories)
        highest = detections[0].score
        for min_score in (detections[len(detections) // 2].score, highest):
            assert all(one.score > min_score for one in self.detect(system, self.categories, min_score=min_score))
        assert self.detect(system, self.categories, min_score=1.0) == []

    def test_an_unknown_category_is_refused_clearly(self, system: System) -> None:
        with pytest.raises(UsageError, match="xyzzy"):
            self.detect(system, ("xyzzy",))


class BoxGrounderContract(SystemContract):
    """Of systems that choose among boxes."""

    def test_boxes_have_the_stated_shapes(self, system: System) -> None:
        grounder, batch = as_box_grounder(system), self.batch(system)
        spec = grounder.grounding_spec
        with torch.no_grad():
            boxes = grounder.boxes_of(system.encode_image(batch.images, batch.padding))
        count = boxes.mask.shape[1]
        assert boxes.mask.any(1).all() and boxes.corners.shape == (len(batch), count, 4)
        assert boxes.classes.shape == (len(batch), count, spec.categories)
        assert (0 if boxes.appearance is None else boxes.appearance.shape[2]) == spec.appearance
        assert boxes.corners.min() >= -1e-6 and boxes.corners.max() <= 1 + 1e-6
        assert batch.words.shape[1] % spec.ids_per_word == 0
        ratios = [width / height for height, width in self.sizes[: len(batch)]]
        assert boxes.aspect.tolist() == pytest.approx(ratios, rel=0.05)

    def test_it_learns_from_given_boxes_without_an_image(self, system: System) -> None:
        grounder, batch = as_box_grounder(system), self.batch(system)
        with torch.no_grad():
            boxes = grounder.boxes_of(system.encode_image(batch.images, batch.padding))
        first = torch.zeros_like(boxes.mask)
        first[:, 0] = True
        targets = BoxTargets(
            boxes=boxes, is_target=first.float(), category_ids=torch.zeros_like(first, dtype=torch.int64)
        )
        given = replace(batch, images=batch.images[..., :0, :0], targets=None, box_targets=targets)
        output = system.train()(given)
        assert output.scores is not None and output.scores.min() >= 0 and output.scores.max() <= 1
        terms = system.loss(output, given)
        assert all(value.ndim == 0 and value.isfinite() for value in terms.values())
        torch.stack(list(terms.values())).sum().backward()
        assert any(one.grad is not None and one.grad.any() for one in system.parameters())


class InstanceLearnerContract(SystemContract):
    """Of systems that can be trained on all annotated instances of an image."""

    def of_instances(self, system: System, count: int) -> Batch:
        """Returns a batch in which each image has `count` annotated people."""
        items = []
        for item in self.items(system):
            height, width = item.image.shape[1:]
            masks = torch.zeros(count, height, width, dtype=torch.bool)
            masks[:, height // 3 : height // 2, width // 4 : width // 2] = True
            targets = InstanceTargets(categories=torch.ones(count, dtype=torch.int64), masks=masks)
            items.append(replace(item, instances=targets))
        return collate(items)

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_it_learns_from_annotated_instances(self, system: System, count: int) -> None:
        assert isinstance(system, InstanceLearner) and isinstance(system.instances_only, bool)
        torch.manual_seed(0)
        batch = self.of_instances(system, count)
        terms = system.loss(system.train()(batch), batch)
        assert terms and all(value.ndim == 0 and value.isfinite() for value in terms.values())
        torch.stack(list(terms.values())).sum().backward()
        assert all(one.grad is None or one.grad.isfinite().all() for one in system.parameters())
        assert any(one.grad is not None and one.grad.any() for one in system.parameters())


class VideoContract(SystemContract):
    """Of systems that encode the frames of a clip together."""

    def clips(self, system: System, *, frames: int) -> Batch:
        """Returns a batch of two clips of noise."""
        every = [self.items(system, texts=TEXTS[:2], seed=seed) for seed in range(frames)]
        items = []
        for frames_of_item in zip(*every, strict=True):
            images, targets = ([getattr(one, name) for one in frames_of_item] for name in ("image", "target"))
            items.append(replace(frames_of_item[0], image=torch.stack(images), target=torch.stack(targets)))
        return collate(items)

    def test_a_clip_has_a_mask_and_a_box_in_every_frame(self, system: System) -> None:
        assert takes_clips(system)
        batch = self.clips(system, frames=3)
        with torch.no_grad():
            output = system(batch)
        assert output.logits.shape[:2] == (2, 3) and output.logits.ndim == 4 and output.logits.isfinite().all()
        assert output.boxes is None or output.boxes.shape == (2, 3, 4)
        assert all(value.ndim == 0 and value.isfinite() for value in system.loss(output, batch).values())

    def test_an_image_is_a_clip_of_one_frame(self, system: System) -> None:
        clip = self.clips(system, frames=1)
        with torch.no_grad():
            of_clip, of_image = system(clip), system(replace(clip, images=clip.images[:, 0]))
        assert torch.allclose(of_clip.logits[:, 0], of_image.logits, atol=TOLERANCE)
        if of_clip.boxes is not None:
            assert torch.allclose(of_clip.boxes[:, 0], of_image.boxes, atol=TOLERANCE)

    def test_a_clip_is_encoded_once_for_many_texts(self, system: System) -> None:
        clip = self.clips(system, frames=2)
        with torch.no_grad():
            visual = system.encode_image(clip.images[:1], clip.padding[:1])
            text = system.encode_text(clip.words, clip.word_mask)
            together = system.decode(visual.select(torch.zeros(2, dtype=torch.int64)), text).logits
            for row in range(2):
                alone = system.decode(visual, text.select(torch.tensor([row]))).logits
                assert torch.allclose(alone[0], together[row], atol=TOLERANCE)
        assert not torch.allclose(together[0], together[1], atol=TOLERANCE)


class QuerySelectorContract(SystemContract):
    """Of systems that decode several object queries."""

    def test_the_answer_is_the_query_with_the_highest_mean_score(self, system: System) -> None:
        assert isinstance(system, QuerySelector)
        output = self.run(system, self.items(system))
        scores = output.maps["query_scores"].mean(1)
        assert output.scores is not None and torch.equal(output.scores, scores.amax(1))
        again = system.select_query(output, scores.argmax(1))
        assert torch.equal(again.logits, output.logits)

    def test_another_query_can_be_the_answer(self, system: System) -> None:
        assert isinstance(system, QuerySelector)
        output = self.run(system, self.items(system))
        scores = output.maps["query_scores"].mean(1)
        other = system.select_query(output, scores.argmin(1))
        assert other.scores is not None and torch.equal(other.scores, scores.amin(1))
        assert other.logits.shape == output.logits.shape and not torch.equal(other.logits, output.logits)


class CachedFeaturesContract(SystemContract):
    """Of systems that are trained from cached features of their frozen layers."""

    def test_cached_features_give_what_images_and_texts_give(self, system: System) -> None:
        assert isinstance(system, FeatureCacheable)
        batch = self.batch(system)
        with torch.no_grad():
            expected = system(batch)
            visual = frozen_prefix.begin(system.visual, *system.before_backbone(batch.images, batch.padding))
            text = frozen_prefix.begin(system.text, batch.words, batch.word_mask)
            no_images = batch.images[..., :0, :0]
            for cached in (
                replace(batch, images=no_images, cached_visual=visual),
                replace(batch, cached_text=text),
                replace(batch, images=no_images, cached_visual=visual, cached_text=text),
            ):
                assert torch.allclose(system(cached).logits, expected.logits, atol=TOLERANCE)


class ExplainableContract(SystemContract):
    """Of systems that show how they came to a prediction."""

    def test_a_prediction_is_explained_from_its_maps_alone(self, system: System) -> None:
        assert isinstance(system, Explainable)
        batch = self.batch(system)
        output = self.run(system, self.items(system))
        predictions = system.predict(output, geometries=batch.geometries, texts=batch.texts, threshold=0.5)
        system.requires_grad_(False).apply(lambda module: module.register_forward_pre_hook(_refuse))
        for prediction in predictions:
            explanation = system.explain([prediction])
            assert explanation.kind == system.explanation_kind
            json.dumps(explanation.to_dict(), allow_nan=False)
            image = np.zeros((*prediction.probability.shape, 3), dtype=np.uint8)
            explained = ExplainedPrediction(
                frames=(replace(prediction, image=image),), names=("image",), explanation=explanation, is_clip=False
            )
            sheet = explanation_contact_sheet(explained)
            assert sheet.dtype == np.uint8 and sheet.ndim == 3


class ExportableContract(SystemContract):
    """Of systems that can be exported."""

    export_phrases: tuple[str, ...] = TEXTS[:3]

    def test_its_halves_answer_as_it_does(self, system: System) -> None:
        """By the paths that an exported graph takes, which have no loops and branches."""
        assert isinstance(system, Exportable)
        example = check.example_of(system, _pictures(), phrases=self.export_phrases)
        graphs = system.graphs(example.images, example.padding)

        def encode(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            with as_exported():
                return list(graphs.encode(*inputs))

        def answer(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            count = len(graphs.features)
            with as_exported():
                return list(graphs.answer(tuple(inputs[:count]), *inputs[count:]))

        found = check.compare(system, encode, answer, _pictures(), self.export_phrases)
        assert found.logits <= 1e-3 and (found.scores is None or found.scores <= 1e-4)

    @pytest.mark.slow
    def test_it_is_exported_for_any_number_of_images_and_expressions(self, system: System) -> None:
        traced = trace(system, check.example_of(system, _pictures(), phrases=self.export_phrases))
        encode, answer = traced.encode.module(), traced.answer.module()
        count = len(traced.graphs.features)
        found = check.check(
            system,
            lambda inputs: list(encode(*inputs)),
            lambda inputs: list(answer(tuple(inputs[:count]), *inputs[count:])),
        )
        assert len(found) == 3 and all(one.logits <= 1e-3 for one in found)


class ExportableClipsContract(SystemContract):
    """Its halves for clips are what the system computes."""

    def test_its_halves_answer_as_it_does(self, system: System) -> None:
        """By the paths that an exported graph takes, which have no loops and branches."""
        assert isinstance(system, ExportableClips)
        graphs = system.clip_graphs()

        def encode(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            with as_exported():
                return list(graphs.encode(*inputs))

        def answer(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            with as_exported():
                count = len(graphs.features)
                return list(graphs.answer(tuple(inputs[:count]), *inputs[count:]))

        found = clips.compare(system, graphs, encode, answer)
        assert [one.images for one in found] == [1, 3, 2]
        assert all(one.logits <= 1e-3 and one.scores is not None and one.scores <= 1e-5 for one in found)

    def test_its_answer_is_that_of_a_query(self, system: System) -> None:
        assert isinstance(system, ExportableClips)
        graphs = system.clip_graphs()
        frames = torch.stack([system.preprocess.image(one)[0] for one in _pictures()])
        padding = torch.zeros(1, *frames.shape[2:], dtype=torch.bool)
        words, mask = system.preprocess.text(TEXTS[0])
        with torch.no_grad():
            output = system.decode(
                system.encode_image(frames[None], padding), system.encode_text(words[None], mask[None])
            )
            logits, scores, _ = graphs.answer(graphs.encode(frames, padding), padding, words[None], mask[None])
        best = scores[0].mean(0).argmax()
        assert output.scores is not None and torch.allclose(scores[0, :, best].mean(), output.scores[0])
        assert torch.allclose(logits[0, :, best], output.logits[0], atol=1e-4)


def _pictures() -> list[np.ndarray]:
    return [check.made_image(60, 80, seed=seed) for seed in range(2)]


def _refuse(*_: object) -> None:
    raise AssertionError("an explanation runs no model")


CONTRACTS: dict[type, type[SystemContract]] = {
    Detector: DetectorContract,
    BoxGrounder: BoxGrounderContract,
    InstanceLearner: InstanceLearnerContract,
    VideoSystem: VideoContract,
    QuerySelector: QuerySelectorContract,
    FeatureCacheable: CachedFeaturesContract,
    Explainable: ExplainableContract,
    Exportable: ExportableContract,
    ExportableClips: ExportableClipsContract,
}
"""The contract of each ability."""
