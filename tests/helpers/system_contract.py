"""What every system keeps to. A system's test class inherits `SystemContract` and says how to make a small one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.batch import Batch, Item, collate
from risctl.errors import UsageError
from risctl.export.check import example_of, made_image
from risctl.export.trace import trace
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import Output, System
from risctl.systems.exportable import Exportable
from risctl.systems.registry import build_system

WORDS = ("the", "man", "left", "red", "cup", "behind", "second", "from", "dog", "blue")
TEXTS = ("the man", "red cup behind the dog", "second from left", "blue dog")
SIZES = ((40, 60), (70, 30), (64, 64), (20, 90))
TOLERANCE = 1e-5
"""Of logits: what another batch size may change, by another order of summation."""


def items_of(
    system: System, *, texts: Sequence[str] = TEXTS, sizes: Sequence[tuple[int, int]] = SIZES, seed: int = 0
) -> list[Item]:
    """Return an item a text, images of noise of `sizes` (height, width)."""
    generator = np.random.default_rng(seed)
    items = []
    for text, (height, width) in zip(texts, sizes, strict=False):
        image, geometry = system.preprocess.image(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        words, word_mask = system.preprocess.text(text)
        mask = np.zeros((height, width), dtype=bool)
        mask[height // 4 : height // 2, width // 4 : width // 2] = True
        target = system.preprocess.target(mask, geometry)
        items.append(Item(image=image, words=words, word_mask=word_mask, target=target, geometry=geometry, text=text))
    return items


class SystemContract:
    """Tests of a system's contract. Override `recipe`; and `masks_padding` where the published code does not mask."""

    sizes: tuple[tuple[int, int], ...] = SIZES
    """Height and width of the pictures; of one size where the reference lets padding change its norms."""

    masks_padding = True
    """Whether the system ignores what lies in padding; False where its reference processes padding like the rest."""

    def recipe(self) -> Recipe:
        """Return the recipe of a small system."""
        raise NotImplementedError

    def vectors(self, vocabulary: Vocabulary, recipe: Recipe) -> np.ndarray | None:
        """Return word vectors for the vocabulary, None for learned ones."""
        del vocabulary, recipe
        return None

    def stir(self, system: System) -> None:
        """Change a new system where it begins at zeros, behind which nothing would get a gradient or matter."""

    @pytest.fixture(scope="class")
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(WORDS)

    @pytest.fixture(scope="class")
    def built(self, vocabulary: Vocabulary) -> System:
        """A system that answers differently for different texts: its norms have seen a few batches."""
        torch.manual_seed(0)
        recipe = self.recipe()
        system = build_system(recipe.model, vocabulary=vocabulary, vectors=self.vectors(vocabulary, recipe))
        self.stir(system)
        system.train()
        with torch.no_grad():
            for seed in range(3):
                system(self.batch(system, seed=seed))
        return system.eval()

    @pytest.fixture
    def system(self, built: System) -> System:
        """A copy of the system, which a test may train."""
        torch.manual_seed(0)
        return copy.deepcopy(built)

    def items(self, system: System, *, texts: tuple[str, ...] = TEXTS, seed: int = 0) -> list[Item]:
        """Return an item a text, images of noise of several sizes."""
        return items_of(system, texts=texts, sizes=self.sizes, seed=seed)

    def batch(self, system: System, *, texts: tuple[str, ...] = TEXTS, seed: int = 0) -> Batch:
        return collate(self.items(system, texts=texts, seed=seed))

    @torch.no_grad()
    def run(self, system: System, items: list[Item]) -> Output:
        return system(collate(items))

    def test_it_keeps_to_the_contract_of_each_of_its_abilities(self, system: System) -> None:
        from helpers.ability_contracts import CONTRACTS

        needed = {contract for ability, contract in CONTRACTS.items() if isinstance(system, ability)}
        inherited = {contract for contract in CONTRACTS.values() if isinstance(self, contract)}
        assert inherited == needed, (
            f"{type(self).__name__} inherits the contracts of other abilities than its system has"
        )

    def test_it_can_be_exported_or_says_why_not(self, system: System) -> None:
        """In one line, with its own reason."""
        from helpers.ability_contracts import CONTRACTS

        ways = tuple(ability for ability in CONTRACTS if ability.__module__ == Exportable.__module__)
        assert isinstance(system, ways) == (system.not_exported is None)
        if system.not_exported is not None:
            pictures = [made_image(60, 80, seed=seed) for seed in range(2)]
            with pytest.raises(UsageError) as refused:
                trace(system, example_of(system, pictures, phrases=TEXTS[:3]))
            assert str(refused.value) == f"{type(system).__name__} cannot be exported: {system.not_exported}"
            assert system.not_exported and "\n" not in system.not_exported

    def test_a_batch_gives_what_single_samples_give(self, system: System) -> None:
        items = self.items(system)
        together = self.run(system, items)
        for row, item in enumerate(items):
            alone = self.run(system, [item])
            assert torch.allclose(alone.logits[0], together.logits[row], atol=TOLERANCE)
            if alone.scores is not None and together.scores is not None:
                assert torch.allclose(alone.scores[0], together.scores[row], atol=TOLERANCE)
            for name, values in together.maps.items():
                assert torch.allclose(alone.maps[name][0], values[row], atol=TOLERANCE), name

    def test_an_image_is_encoded_once_for_many_texts(self, system: System) -> None:
        batch = self.batch(system)
        with torch.no_grad():
            visual = system.encode_image(batch.images[:1], batch.padding[:1])
            text = system.encode_text(batch.words, batch.word_mask)
            many = system.decode(visual.select(torch.zeros(len(batch), dtype=torch.int64)), text)
            for row in range(len(batch)):
                one = system.decode(visual, text.select(torch.tensor([row])))
                assert torch.allclose(one.logits[0], many.logits[row], atol=TOLERANCE)

    def test_expressions_that_share_an_image_train_as_those_that_do_not(self, system: System) -> None:
        """With frozen norms the loss and the gradients are the same; norms see each image as often as it is encoded."""
        items = self.items(system)
        apart = [replace(one, image=items[0].image, geometry=items[0].geometry, target=one.target) for one in items]
        apart = [replace(one, target=items[0].target) for one in apart]
        together = [replace(one, image_key=(0, 0)) for one in apart[:-1]] + apart[-1:]
        found = []
        for given in (apart, together):
            torch.manual_seed(0)
            system.zero_grad()
            batch = collate(given)
            terms = system.loss(system(batch), batch)
            torch.stack([term.float() for term in terms.values()]).sum().backward()
            grads = {name: one.grad.clone() for name, one in system.named_parameters() if one.grad is not None}
            found.append((len(batch.images), terms, grads))
        (many, ours, expected), (few, theirs, grads) = found
        assert (many, few) == (len(items), 2) and ours.keys() == theirs.keys() and expected.keys() == grads.keys()
        for name, term in ours.items():
            assert torch.allclose(term, theirs[name], rtol=1e-4, atol=1e-6), name
        largest = max(float(one.abs().max()) for one in expected.values())
        for name, one in expected.items():
            assert torch.allclose(one, grads[name], rtol=1e-3, atol=1e-4 * largest), name

    def test_text_and_image_both_matter(self, system: System) -> None:
        """A system that ignored one of its inputs would keep every other clause of the contract."""
        same_image = self.items(system, texts=("the man",)) + self.items(system, texts=("red cup",))
        logits = self.run(system, same_image).logits
        assert (logits[0] - logits[1]).abs().max() > 10 * TOLERANCE
        same_text = self.items(system, texts=("the man",)) + self.items(system, texts=("the man",), seed=1)
        logits = self.run(system, same_text).logits
        assert (logits[0] - logits[1]).abs().max() > 10 * TOLERANCE

    def test_padding_does_not_leak(self, system: System) -> None:
        """What lies in padding changes nothing.

        Where the reference processes padding (`masks_padding` False), padding must be the same for a sample in every
        company: one length of words, one size and fill of images, whatever the text and the image.
        """
        items = self.items(system)
        if self.masks_padding:
            batch = collate(items)
            clean = self.run(system, items).logits
            noise = torch.rand_like(batch.images)
            images = torch.where(batch.padding[:, None], noise, batch.images)
            words = torch.where(batch.word_mask, batch.words, torch.full_like(batch.words, 3))
            with torch.no_grad():
                visual = system.encode_image(images, batch.padding)
                dirty = system.decode(visual, system.encode_text(words, batch.word_mask)).logits
            assert torch.allclose(clean, dirty, atol=TOLERANCE)
            return
        assert len({item.words.shape for item in items}) == len({item.image.shape for item in items}) == 1
        for item in items:
            assert not item.words[~item.word_mask].any()
            border = item.image[:, item.geometry.padding()]
            assert all(channel.numel() == 0 or len(channel.unique()) == 1 for channel in border)

    def test_one_word_is_enough(self, system: System) -> None:
        assert self.run(system, self.items(system, texts=("man",))).logits.isfinite().all()

    @pytest.mark.parametrize("text", ["", " \n\t"])
    def test_an_empty_text_is_refused_clearly(self, system: System, text: str) -> None:
        with pytest.raises(UsageError, match="at least one word"):
            system.preprocess.text(text)

    def test_two_hundred_words_are_cut_alike(self, system: System) -> None:
        long = " ".join(WORDS[number % len(WORDS)] for number in range(200))
        longer = f"{long} dog dog dog"
        first = self.run(system, self.items(system, texts=(long,))).logits
        second = self.run(system, self.items(system, texts=(longer,))).logits
        assert first.isfinite().all()
        assert torch.equal(first, second)

    def test_unknown_words_are_no_error(self, system: System) -> None:
        assert self.run(system, self.items(system, texts=("xyzzy plugh",))).logits.isfinite().all()

    def test_saved_and_loaded_gives_the_same_masks(
        self, system: System, vocabulary: Vocabulary, tmp_path: Path
    ) -> None:
        save_checkpoint(tmp_path / "c.safetensors", system=system, recipe=self.recipe(), vocabulary=vocabulary)
        loaded = load_checkpoint(tmp_path / "c.safetensors")
        items = self.items(system)
        again = self.run(loaded.system, self.items(loaded.system))
        assert torch.equal(self.run(system, items).logits, again.logits)

    def test_predictions_have_the_size_of_the_images(self, system: System) -> None:
        batch = self.batch(system)
        with torch.no_grad():
            output = system(batch)
        predictions = system.predict(output, geometries=batch.geometries, texts=batch.texts, threshold=0.5)
        assert [prediction.probability.shape for prediction in predictions] == list(self.sizes[: len(batch)])
        assert [prediction.text for prediction in predictions] == list(batch.texts)
        for prediction in predictions:
            assert prediction.mask.dtype == bool
            assert 0 <= prediction.score <= 1
            assert prediction.probability.min() >= 0 and prediction.probability.max() <= 1
            assert (prediction.box is None) == (not prediction.mask.any())

    def test_every_trainable_parameter_gets_a_gradient(self, system: System) -> None:
        """From the terms that depend on the output; a weight penalty alone would reach dead layers, too."""
        system.train()
        torch.manual_seed(1)
        batch = self.batch(system)
        terms = system.loss(system(batch), batch)
        sum(value for name, value in terms.items() if name != "weight_penalty").backward()
        trainable = {name: one for name, one in system.named_parameters() if one.requires_grad}
        assert trainable
        without = [name for name, one in trainable.items() if one.grad is None or not one.grad.any()]
        assert [name for name in without if not self.may_lack_gradient(name)] == []
        assert all(parameter.grad is None for parameter in system.parameters() if not parameter.requires_grad)

    def may_lack_gradient(self, name: str) -> bool:
        """Return whether a parameter's gradient is zero by construction; say why where this is overridden."""
        del name
        return False

    def test_losses_are_named_finite_scalars(self, system: System) -> None:
        batch = self.batch(system)
        terms = system.loss(system(batch), batch)
        assert terms
        assert all(value.ndim == 0 and value.isfinite() for value in terms.values())

    def test_it_learns_in_bf16(self, system: System) -> None:
        """As `train.precision=bf16` runs it; an operation that mixes precisions would raise."""
        system.train()
        batch = self.batch(system)
        with torch.autocast("cpu", torch.bfloat16):
            terms = system.loss(system(batch), batch)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        total.backward()
        grads = [parameter.grad for parameter in system.parameters() if parameter.grad is not None]
        assert bool(total.isfinite()) and grads and all(bool(one.isfinite().all()) for one in grads)

    def test_training_lowers_the_loss(self, system: System) -> None:
        system.train()
        torch.manual_seed(0)
        batch = self.batch(system)
        optimizer = torch.optim.Adam(
            [parameter for parameter in system.parameters() if parameter.requires_grad], lr=3e-3
        )
        losses = []
        for _ in range(12):
            optimizer.zero_grad()
            loss = torch.stack(list(system.loss(system(batch), batch).values())).sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]

    def test_evaluation_is_repeatable_and_changes_nothing(self, system: System) -> None:
        before = {name: value.clone() for name, value in system.state_dict().items()}
        items = self.items(system)
        assert torch.equal(self.run(system, items).logits, self.run(system, items).logits)
        assert all(torch.equal(value, before[name]) for name, value in system.state_dict().items())

    def test_the_preprocess_can_be_sent_to_loader_workers(self, system: System) -> None:
        again = pickle.loads(pickle.dumps(system.preprocess))
        assert torch.equal(again.text("the man")[0], system.preprocess.text("the man")[0])

    def test_it_builds_on_the_meta_device(self, vocabulary: Vocabulary, system: System) -> None:
        with torch.device("meta"):
            empty = build_system(self.recipe().model, vocabulary=vocabulary)
        assert all(parameter.is_meta for parameter in empty.parameters())
        assert {name: one.shape for name, one in empty.state_dict().items()} == {
            name: one.shape for name, one in system.state_dict().items()
        }
