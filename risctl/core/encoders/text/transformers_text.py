"""Runs any text encoder of transformers (`AutoModel`: BERT, RoBERTa, …) as a text encoder."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from risctl.core.blocks import freeze
from risctl.core.encoders.base import TextFeatures
from risctl.core.encoders.load_weights import load_state
from risctl.core.encoders.model_config import read_model_config, unreadable
from risctl.data.download.hub import MODEL, model_folder
from risctl.data.download.pretrained import quietly
from risctl.errors import RecipeError
from risctl.language.pretrained_tokens import PretrainedTokens

_OPTION = "model.text.name"
_TOKENIZERS = ("tokenizer.json", "vocab.json+merges.txt", "vocab.txt", "spiece.model")


class TransformersText(nn.Module):
    """Token ids to words (B, L, channels) and the sentence (B, channels).

    The sentence is the model's pooled output where it has one, else the mean over the words. Words and sentence share
    a linear layer, a layer norm and a dropout (as in ReferFormer). Of an encoder-decoder the encoder is used.
    """

    def __init__(
        self, config: Mapping[str, Any], *, channels: int | None = None, dropout: float = 0.1, frozen: bool = False
    ) -> None:
        """Builds the encoder with random weights.

        Args:
            config: What `read_config` returned.
            channels: Width of words and sentence; None: that of the model.
            dropout: Dropout after the layer norm.
            frozen: Whether the model does not train; the linear layer and the norm always do.

        Raises:
            RecipeError: The configuration is not that of a text encoder.
        """
        super().__init__()
        from transformers import AutoConfig, AutoModel

        try:
            settings = AutoConfig.for_model(**config)
            self.model = _encoder_of(AutoModel.from_config(settings))
            width = int(settings.hidden_size)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unfit(config) from error
        taken = inspect.signature(self.model.forward).parameters
        if "input_ids" not in taken or "attention_mask" not in taken:
            raise _unfit(config)
        self.pad = settings.pad_token_id or 0
        self.channels = channels or width
        self.resizer = nn.Sequential(nn.Linear(width, self.channels), nn.LayerNorm(self.channels), nn.Dropout(dropout))
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> TransformersText:
        """Sets the training mode; a frozen model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            freeze((self.model,))
        return self

    def load(self, source: str) -> None:
        """Loads the weights of a folder or hub id. Raises `CheckpointError` if they are those of another model."""
        from transformers import AutoModel

        folder = model_folder(source, MODEL, option="model.text.weights")
        try:
            with quietly():
                model = AutoModel.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        except Exception as error:  # the library checks little of what it reads
            raise unreadable(folder, error, what="a text encoder") from error
        load_state(self.model, dict(_encoder_of(model).state_dict()), source=source)

    def forward(self, words: Tensor, mask: Tensor) -> TextFeatures:
        """Encodes token ids (B, L) with mask (B, L)."""
        return self.finish(self.begin(words, mask), mask)

    def frozen_part(self) -> tuple[nn.Module, ...]:
        """Returns the model if it is frozen."""
        return (self.model,) if self.frozen else ()

    def begin(self, words: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Returns the model's states (B, L, width) and its sentence (B, width)."""
        ids = torch.where(mask, words, torch.full_like(words, self.pad))
        attended = mask.long()
        if mask.is_meta:  # transformers would look whether anything is masked; a mask of all pairs is taken as it is
            attended = mask[:, None, None].expand(-1, -1, words.shape[1], -1)
        read = self.model(input_ids=ids, attention_mask=attended)
        states = read.last_hidden_state
        pooled = getattr(read, "pooler_output", None)
        if pooled is None:
            shares = mask / mask.sum(1, keepdim=True).clamp(min=1)
            pooled = torch.einsum("bl,bld->bd", shares.to(states.dtype), states)
        return states, pooled

    def finish(self, parts: tuple[Tensor, ...], mask: Tensor) -> TextFeatures:
        """Returns the features of what `begin` gave."""
        states, pooled = parts
        return TextFeatures(words=self.resizer(states), mask=mask, sentence=self.resizer(pooled))


def read_config(source: str) -> dict[str, Any]:
    """Reads the configuration of a model from a folder or hub id, as JSON values.

    Raises:
        CheckpointError: There is no such folder, or its configuration cannot be read.
        MachineError: The hub cannot be reached.
    """
    return read_model_config(source, option=_OPTION)[1]


def read_tokens(source: str) -> PretrainedTokens:
    """Reads the tokenizer of a model from a folder or hub id.

    Raises:
        CheckpointError: There is no such folder, or its tokenizer has no form of the `tokenizers` library.
        MachineError: The hub cannot be reached.
    """
    from transformers import AutoTokenizer

    folder = model_folder(source, (_TOKENIZERS,), option="model.text.tokens")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        return PretrainedTokens(tokenizer.backend_tokenizer.to_str())
    except Exception as error:  # the library checks little of what it reads
        raise unreadable(folder, error, what="a tokenizer") from error


def _encoder_of(model: Any) -> Any:
    return model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


def _unfit(config: Mapping[str, Any]) -> RecipeError:
    return RecipeError(
        f"{_OPTION}: expected a text encoder of transformers such as BERT or RoBERTa, got model type "
        f"{config.get('model_type')!r}"
    )
