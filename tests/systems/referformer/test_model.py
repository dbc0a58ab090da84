"""ReferFormer: the contract on images, and what is its own: clips, padding, queries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.ability_contracts import (
    CachedFeaturesContract,
    ExplainableContract,
    ExportableClipsContract,
    QuerySelectorContract,
    VideoContract,
)
from helpers.small_models import REFERFORMER, recipe_of
from helpers.system_contract import TEXTS

from risctl.data.batch import Batch, Item, collate
from risctl.data.records import SampleIds
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.referformer.config import ReferFormerModel
from risctl.systems.referformer.model import ReferFormer, clip_targets
from risctl.systems.registry import build_system

SMALL: dict[str, Any] = REFERFORMER | {"longest_side": 96, "max_words": 12, "decoder_layers": 2}


def system_of(**changes: Any) -> ReferFormer:
    torch.manual_seed(0)
    model = ReferFormerModel.model_validate(SMALL | changes)
    system = build_system(model, vocabulary=Vocabulary(["the", "red", "cup", "left"]))
    assert isinstance(system, ReferFormer)
    return system.eval()


class TestReferFormer(
    CachedFeaturesContract, ExplainableContract, QuerySelectorContract, VideoContract, ExportableClipsContract
):
    """On images of one size: with several, group norms and convolutions see the padding, as in the published code."""

    sizes = ((40, 60), (40, 60), (40, 60), (40, 60))

    def recipe(self) -> Recipe:
        return recipe_of(SMALL)

    def stir(self, system: System) -> None:
        """The last layers of the box heads, and those that place and weigh the points, are zeros at first."""
        with torch.no_grad():
            for parameter in system.parameters():
                if parameter.ndim > 1 and not parameter.any():
                    parameter.normal_(std=0.05)

    def may_lack_gradient(self, name: str) -> bool:
        """A bias of the keys moves all scores of a query alike, which no softmax sees; but for rounding it is zero."""
        return name.endswith("attention.self.key.bias")


def clips_of(system: ReferFormer, *, frames: int = 3, sizes: tuple[tuple[int, int], ...] = ((48, 64),)) -> Batch:
    """Return a batch of clips of noise with a box that moves."""
    generator = np.random.default_rng(1)
    items = []
    for text, (height, width) in zip(TEXTS, sizes, strict=False):
        images, targets = [], []
        for frame in range(frames):
            pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
            image, geometry = system.preprocess.image(pixels)
            mask = np.zeros((height, width), dtype=bool)
            mask[8:30, 8 + 4 * frame : 30 + 4 * frame] = True
            images.append(image)
            targets.append(system.preprocess.target(mask, geometry))
        words, word_mask = system.preprocess.text(text)
        items.append(
            Item(
                image=torch.stack(images),
                words=words,
                word_mask=word_mask,
                target=torch.stack(targets),
                geometry=geometry,
                text=text,
            )
        )
    return collate(items)


@pytest.mark.parametrize("name", ["small_cnn", "resnet18", "swin_t", "video_swin_t"])
def test_every_kind_of_backbone_takes_clips(name: str) -> None:
    system = system_of(visual={"name": name})
    batch = clips_of(system, sizes=((48, 64), (48, 64)))
    with torch.no_grad():
        output = system(batch)
    assert output.logits.shape == (2, 3, 12, 16)
    assert output.boxes.shape == (2, 3, 4)
    assert output.logits.isfinite().all()
    losses = system.loss(output, batch)
    assert set(losses) == {"class", "box", "giou", "mask", "dice"}


def test_what_lies_in_padding_changes_nothing() -> None:
    system = system_of()
    batch = clips_of(system, sizes=((48, 64), (64, 48)))
    assert batch.padding.any()
    noisy = torch.where(batch.padding[:, None, None], torch.rand_like(batch.images), batch.images)
    with torch.no_grad():
        assert torch.equal(system(batch).logits, system(replace(batch, images=noisy)).logits)


def test_with_centre_only_the_centre_frame_alone_is_decoded() -> None:
    system, whole = system_of(centre_only=True), system_of()
    whole.load_state_dict(system.state_dict())
    batch = clips_of(system, frames=3)
    with torch.no_grad():
        output = system(batch)
        alone = whole(replace(batch, images=batch.images[:, 1], targets=None))
    assert output.logits.shape[:2] == (1, 1)
    assert torch.allclose(output.logits[:, 0], alone.logits, atol=1e-5)
    losses = system.loss(output, batch)
    assert all(value.isfinite() for value in losses.values())


def test_every_layer_is_trained_and_the_last_alone_predicts() -> None:
    system = system_of()
    batch = clips_of(system)
    with torch.no_grad():
        assert len(system(batch).extras["layers"]) == 1
        output = system.train()(batch)
    assert set(system.loss(output, batch)) >= {"mask", "mask_0", "dice_0"}


def test_a_frame_without_the_object_is_no_frame_of_the_class_loss() -> None:
    masks = torch.zeros(1, 2, 32, 32)
    masks[0, 0, 8:16, 4:12] = 1
    padding = torch.zeros(1, 32, 32, dtype=torch.bool)
    targets = clip_targets(masks, padding, like=torch.zeros(1, 2, 3, 8, 8))
    assert targets.valid.tolist() == [[True, False]]
    assert torch.allclose(targets.boxes[0, 0], torch.tensor([8 / 32, 12 / 32, 8 / 32, 8 / 32]))
    assert not targets.boxes[0, 1].any()
    # Every fourth pixel, from the third on: rows 10 and 14 of 8 to 15, columns 6 and 10 of 4 to 11.
    assert targets.masks[0, 0].sum() == 4


def of_category(batch: Batch, *numbers: int | None) -> Batch:
    ids = tuple(SampleIds(image_id=1, ref_id=1, sentence_id=1, category_id=number) for number in numbers)
    return replace(batch, ids=ids)


def test_of_several_classes_the_category_of_the_target_is_learned() -> None:
    system = system_of(classes=5)
    batch = clips_of(system)
    with torch.no_grad():
        for head in system.classes:
            head.bias.copy_(torch.tensor([-5.0, -5.0, -5.0, 3.0, -5.0]))
            head.weight.zero_()
    output = system(batch)
    right, wrong = (system.loss(output, of_category(batch, number)) for number in (3, 2))
    assert right["class"] < wrong["class"]
    right["class"].backward()
    grown = system.classes[1].bias.grad
    assert grown is not None and grown[3] != 0 and grown[3].abs() > grown[2].abs()
    with pytest.raises(UsageError, match="below 5, got 7"):
        system.loss(output, of_category(batch, 7))
    # What is not there has no category; its frames are not valid, so nothing is learned of one.
    absent = replace(of_category(batch, None), targets=torch.zeros_like(batch.targets))
    assert all(value.isfinite() for value in system.loss(output, absent).values())


def test_of_several_classes_a_query_stands_for_its_surest() -> None:
    """As published: the mean over frames first, then the highest class."""
    system = system_of(classes=2)
    output = system(clips_of(system, frames=2))
    chances = torch.tensor([[[0.9, 0.1], [0.6, 0.0], [0.0, 0.0]], [[0.0, 0.7], [0.6, 0.0], [0.0, 0.0]]])
    [last] = output.extras["layers"]
    again = system._answer((replace(last, classes=chances.logit(eps=1e-6)[None]),), single=False)
    assert int(again.maps["query_scores"][0].mean(0).argmax()) == 1
    assert again.scores is not None and again.scores[0].item() == pytest.approx(0.6, abs=1e-4)
    assert torch.allclose(again.maps["query_scores"][0, :, 0], torch.tensor([0.9, 0.0]), atol=1e-4)


def test_the_last_layer_alone_predicts_as_among_all() -> None:
    """Its masks are had without the features that all layers share."""
    system = system_of()
    batch = clips_of(system, sizes=((48, 64), (64, 48)))
    with torch.no_grad():
        visual, text = (
            system.encode_image(batch.images, batch.padding),
            system.encode_text(batch.words, batch.word_mask),
        )
        alone, among = (system.decode_layers(visual, text, every=every) for every in (False, True))
    last = among.extras["layers"][-1]
    assert torch.allclose(alone.extras["layers"][-1].masks, last.masks, atol=1e-4)
    assert torch.allclose(alone.logits, among.logits, atol=1e-4)


def test_the_annotated_frame_is_decoded_wherever_it_stands() -> None:
    """Video backbones see all frames; the transformer, and the loss, the annotated one."""
    system = system_of(centre_only=True, window=3, visual={"name": "video_swin_t"})
    clip = clips_of(system, frames=3, sizes=((48, 64), (48, 64)))
    assert clip.targets is not None
    frame = torch.tensor([2, 0])
    targets = clip.targets[torch.arange(2), frame][:, None]
    batch = replace(clip, annotated=frame, targets=targets, boxes=torch.tensor([[[0.5, 0.5, 0.2, 0.4]]] * 2))
    with torch.no_grad():
        output = system(batch)
        middle = system(replace(batch, annotated=torch.tensor([1, 1])))
        alone = system(replace(batch, images=clip.images[torch.arange(2), frame], annotated=None))
    assert output.logits.shape[:2] == (2, 1)
    assert not torch.allclose(output.logits, middle.logits)
    assert not torch.allclose(output.logits[:, 0], alone.logits)  # the frames around it are seen
    assert all(value.isfinite() for value in system.loss(output, batch).values())


def test_an_annotated_frame_is_evaluated_with_those_around_it(tmp_path: Path) -> None:
    from helpers.annotated_frames import annotated_frames_dataset

    from risctl.evaluation.image_evaluator import evaluate

    write_store(annotated_frames_dataset(), tmp_path / "a2d.h5")
    system = system_of(centre_only=True, window=5, visual={"name": "video_swin_t"})
    seen = []
    encode = system.encode_window
    system.encode_window = lambda images, padding, frame: (  # type: ignore[method-assign]
        seen.append((images.shape[1], int(frame))) or encode(images, padding, frame)
    )
    with Store(tmp_path / "a2d.h5") as store:
        report = evaluate(system, store, split="val", protocols="a2d", resamples=0)
    assert seen == [(5, 2), (5, 2)] and report.results["a2d"].figures


def test_boxes_of_a_batch_take_the_place_of_those_of_the_masks() -> None:
    masks = torch.zeros(1, 2, 32, 32)
    masks[0, 0, 8:16, 4:12] = 1
    like, padding = torch.zeros(1, 2, 3, 8, 8), torch.zeros(1, 32, 32, dtype=torch.bool)
    boxes = torch.tensor([[[0.4, 0.4, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]])
    target = clip_targets(masks, padding, like=like, boxes=boxes)
    assert torch.equal(target.boxes, boxes) and target.valid.tolist() == [[True, False]]


def test_masks_of_images_come_back_as_the_published_postprocessor_brings_them() -> None:
    """PostProcessSegm: logits four times larger, threshold, cut to the resized image, nearest to the original."""
    system = system_of(input_multiple=32, mask_resize="nearest", longest_side=None)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    image, geometry = system.preprocess.image(pixels)
    assert image.shape == (3, 64, 96) and geometry.padding()[:, 67:].all() and geometry.padding()[48:].all()
    logits = torch.randn(2, 16, 24)
    larger = torch.nn.functional.interpolate(logits[:, None], size=(64, 96), mode="bilinear", align_corners=False)
    cut = (larger.sigmoid() > 0.5)[..., :48, :67].float()
    wanted = torch.nn.functional.interpolate(cut, size=(50, 70), mode="nearest")[:, 0] > 0.5
    assert torch.equal(geometry.invert(logits).sigmoid() > 0.5, wanted)
    output = system(collate([Item(image=image, target=None, geometry=geometry, text="the cup", **_words(system))]))
    [prediction] = system.predict(output, geometries=[geometry], texts=["the cup"], threshold=0.5)
    assert np.array_equal(prediction.mask, geometry.invert(output.logits)[0].detach().sigmoid().numpy() > 0.5)


def _words(system: ReferFormer) -> dict[str, Any]:
    words, mask = system.preprocess.text("the cup")
    return {"words": words, "word_mask": mask}


def test_case_is_kept_where_the_recipe_says_so() -> None:
    vocabulary = Vocabulary(["the", "cup", "Cup"])
    lower, typed = (
        build_system(ReferFormerModel.model_validate(SMALL | {"lowercase": lowercase}), vocabulary=vocabulary)
        for lowercase in (True, False)
    )
    assert lower.preprocess.lowercase and not typed.preprocess.lowercase  # type: ignore[attr-defined]
    assert lower.preprocess.text("The Cup")[0].tolist() == lower.preprocess.text("the cup")[0].tolist()


def test_dropout_acts_within_a_frozen_roberta_in_training_alone() -> None:
    text = SMALL["text"] | {"frozen": True, "dropout": 0.5}
    system, still = (system_of(text=text | {"frozen_dropout": acts}) for acts in (True, False))
    words, mask = system.preprocess.text("the red cup")
    for model, acts in ((system, True), (still, False)):
        encoder = model.train().text
        assert not any(parameter.requires_grad for parameter in encoder.roberta.parameters())
        states = [encoder.begin(words[None], mask[None])[0] for _ in range(2)]
        assert torch.equal(*states) != acts
        assert bool(encoder.frozen_part()) != acts
        encoder = model.eval().text
        assert torch.equal(*[encoder.begin(words[None], mask[None])[0] for _ in range(2)])


def test_a_window_belongs_to_models_of_the_centre_frame() -> None:
    with pytest.raises(ValueError, match="centre_only"):
        ReferFormerModel.model_validate(SMALL | {"window": 5})
