"""Initialises a system with the weights of another training: all of them, or those of some parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from risctl.checkpoints.checkpoint import vocabulary_of
from risctl.checkpoints.loaded_model import read_weights
from risctl.core.encoders.text.embedding import FrozenVectors, LearnedVectors
from risctl.errors import CheckpointError, RecipeError, nearest
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.train import InitWeightsSection
from risctl.weights.tensor_checks import check_kinds

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class InitWeights:
    """A checkpoint to begin with. weights: by parameter; vocabulary: the one that its words are numbered by."""

    path: Path
    weights: Mapping[str, Tensor]
    vocabulary: Vocabulary
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def takes(self, name: str) -> bool:
        """Say whether the tensor `name` is taken from the checkpoint."""
        return (not self.include or name.startswith(self.include)) and not name.startswith(self.exclude)

    @property
    def takes_encoders(self) -> bool:
        """Whether all of the backbone and the text encoder comes from here: no other weights are read for them."""
        encoders = [name for name in self.weights if name.startswith(("visual.", "text."))]
        # A system that has its backbone within another part, such as mini, must come whole.
        return all(self.takes(name) for name in encoders or self.weights)

    @property
    def words(self) -> Vocabulary | None:
        """The vocabulary, if the vectors of its words are taken."""
        rows = len(self.vocabulary)
        taken = any(value.ndim == 2 and len(value) == rows and self.takes(name) for name, value in self.weights.items())
        return self.vocabulary if taken else None

    def fill(self, system: nn.Module, vocabulary: Vocabulary) -> str:
        """Copy the weights into `system`, whose words are those of `vocabulary`; return what was done, in words.

        Word vectors go by their words: words that the checkpoint lacks keep the vectors they have. Raises
        `CheckpointError` for tensors that are missing, unknown or of another shape, `RecipeError` for a prefix that no
        parameter's name begins with.
        """
        own = system.state_dict()
        self._check_prefixes(own)
        given = {name: value for name, value in self.weights.items() if self.takes(name)}
        wanted = {name: value for name, value in own.items() if self.takes(name)}
        new_words = 0
        if vocabulary.to_list() != self.vocabulary.to_list():
            for name in _word_vectors(system, words=len(vocabulary)):
                if name in given and name in wanted and len(given[name]) == len(self.vocabulary):
                    given[name], new_words = self._by_word(given[name], wanted[name], vocabulary)
        problems = _other_names(given, wanted)
        problems += [
            f"{name} is {tuple(given[name].shape)}, expected {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in given and given[name].shape != value.shape
        ]
        self._refuse(problems)
        check_kinds(given, wanted, source=self.path)
        system.load_state_dict(given, strict=False)
        rest = len(own) - len(wanted)
        return (
            f"begins with {len(wanted)} tensors of {self.path}"
            + (f", {rest} keep their own" if rest else "")
            + (f", and {new_words} words that it does not know" if new_words else "")
        )

    def check(self, system: nn.Module) -> None:
        """Check the names of the tensors alone, as far as a model can be compared whose words are not known yet.

        Raises `CheckpointError` and `RecipeError` as `fill` does.
        """
        own = system.state_dict()
        self._check_prefixes(own)
        self._refuse(_other_names(*({name for name in names if self.takes(name)} for names in (self.weights, own))))

    def _refuse(self, problems: Sequence[str]) -> None:
        if problems:
            more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise CheckpointError(
                f"train.init_weights: {self.path} is of another model: {'; '.join(problems[:_SHOWN])}{more}. List "
                "what keeps its own weights in train.init_weights.exclude,"
                " or what is loaded in train.init_weights.include"
            )

    def _by_word(self, given: Tensor, wanted: Tensor, vocabulary: Vocabulary) -> tuple[Tensor, int]:
        places = {word: place for place, word in enumerate(self.vocabulary.words)}
        known = [(new, places[word]) for new, word in enumerate(vocabulary.words) if word in places]
        if given.shape[1:] != wanted.shape[1:]:
            return given, 0  # told as a shape that does not fit
        rows, sources = (torch.tensor(side) for side in zip(*known, strict=True))
        filled = wanted.detach().clone()
        filled[rows] = given[sources].to(filled)
        return filled, len(vocabulary) - len(known)

    def _check_prefixes(self, own: Mapping[str, Tensor]) -> None:
        problems = [
            f"{key}: no parameter's name begins with {prefix!r}; nearest: {nearest(prefix, _prefixes(own))!r}"
            for key, prefixes in (("include", self.include), ("exclude", self.exclude))
            for prefix in prefixes
            if not any(name.startswith(prefix) for name in own)
        ]
        if problems:
            raise RecipeError("train.init_weights names what the model does not have", problems=problems)


def _other_names(given: Collection[str], wanted: Collection[str]) -> list[str]:
    missing = [f"{name} is missing" for name in wanted if name not in given]
    return missing + [f"{name} is not of this model" for name in given if name not in wanted]


def read_init_weights(section: InitWeightsSection) -> InitWeights:
    """Reads the checkpoint whose weights a training starts from.

    Raises:
        CheckpointError: It cannot be read.
    """
    path, header, weights = read_weights(section.checkpoint)
    return InitWeights(
        path=path,
        weights=weights,
        vocabulary=vocabulary_of(header, path),
        include=section.include,
        exclude=section.exclude,
    )


def random_parts(system: nn.Module, other: nn.Module, *, taken: Callable[[str], bool]) -> list[str]:
    """Returns the largest parts of `system` whose weights are random, each with its number of parameters.

    Args:
        system: The system, filled with the weights of a checkpoint.
        other: The same, built with another seed: weights that both have alike were read from a file.
        taken: Says of a parameter's name whether it is from the checkpoint.
    """
    given, drawn = set(), {}
    for (name, one), two in zip(system.named_parameters(), other.parameters(), strict=True):
        if taken(name):
            given.add(name)
        elif not torch.equal(one, two):
            drawn[name] = one.numel()
        elif one.numel() > 1 and bool((one != one.flatten()[0]).any()):
            given.add(name)  # a norm's ones and zeros are neither random nor read
    parts: dict[str, int] = {}
    for name, count in drawn.items():
        steps = name.split(".")
        prefixes = [".".join(steps[: end + 1]) for end in range(len(steps))]
        part = next((one for one in prefixes if not any(f"{each}.".startswith(f"{one}.") for each in given)), name)
        parts[part] = parts.get(part, 0) + count
    return [f"{part} ({count:,} parameters)" for part, count in parts.items()]


def _word_vectors(system: nn.Module, *, words: int) -> list[str]:
    """Returns the names of the tensors that have a row per word."""
    names = []
    for name, module in system.named_modules():
        if isinstance(module, nn.Embedding) and module.num_embeddings == words:
            names.append(f"{name}.weight")
        elif isinstance(module, FrozenVectors | LearnedVectors):
            names.append(f"{name}.vectors")
    return names


def _prefixes(names: Mapping[str, Tensor]) -> Sequence[str]:
    parts = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}
    return sorted(parts)
