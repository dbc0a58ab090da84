"""Defines the `model` section of a model of transformers that is fine-tuned."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.section import PRETRAINED, is_pretrained
from risctl.section import ModelSection, Section
from risctl.systems.vocabulary import SubwordTokens, VocabularySpec

Suffix = Annotated[str, Field(min_length=1)]


class LoRASection(Section):
    """Low-rank adapters (Hu et al., ICLR 2022) in place of the weights themselves, by the library peft."""

    rank: int = Field(default=16, ge=1, le=1024, description="Rank of the adapters.")
    alpha: float = Field(
        default=32.0, gt=0.0, le=1.0e4, description="What an adapter's output is multiplied by, times 1 / rank."
    )
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="Dropout before the adapters.")
    layers: Annotated[tuple[Suffix, ...], Field(strict=False)] = Field(
        default=(),
        description="The linear layers that get an adapter, by the last parts of their names, such as [q_proj, "
        "v_proj], outside the frozen parts; empty: those of the family's attention.",
    )


class TransformersModel(ModelSection):
    """A model of transformers that answers phrases, fine-tuned: CLIPSeg, SAM 3, Grounding DINO, OWL-ViT, OWLv2."""

    system: Literal["transformers"] = Field(description="Name of the system, which decides the other keys of `model`.")
    name: str = Field(
        description="The model: `hf:` and a hub id OWNER/NAME (with @REVISION) or a folder in Hugging Face's layout.",
        min_length=1,
    )
    frozen: Annotated[tuple[Literal["visual", "text"], ...], Field(strict=False)] = Field(
        default=("visual",),
        description="The encoders that do not train, [visual, text] or one of them; []: all of the model trains.",
    )
    lora: LoRASection | None = Field(
        default=None, description="Adapters to train in place of the weights; null: the weights themselves."
    )
    min_score: Annotated[float, Field(ge=0.0, le=1.0)] | None = Field(
        default=None,
        description="Score from which an instance belongs to the answer, and below which there is none; null: the "
        "published one of the family. CLIPSeg has none.",
    )
    config: dict[str, Any] | None = Field(
        default=None, description="The model's configuration, read from its folder when a training begins."
    )
    files: dict[str, Any] | None = Field(
        default=None, description="The settings of its processor by file name, read from its folder likewise."
    )

    @field_validator("name")
    @classmethod
    def _names_a_model(cls, value: str) -> str:
        if not is_pretrained(value):
            raise PydanticCustomError("clash", "`{begin}` and a hub id or folder", {"begin": PRETRAINED})
        return value

    @property
    def source(self) -> str:
        """The hub id or folder."""
        return self.name.removeprefix(PRETRAINED)

    def vocabulary_spec(self) -> VocabularySpec:
        """Returns what the model needs of its words: its own tokenizer."""
        return SubwordTokens(source=self.source, encoder=self.name)

    def resolved(self) -> Self:
        """Returns the section with the configuration and the processor's settings, so that it needs no folder."""
        if self.config is not None and self.files is not None:
            return self
        from risctl.systems.transformers.folder import fetch, read_settings

        fetch(self.source)
        config, files = read_settings(self.source)
        return self.model_copy(update={"config": config, "files": files})
