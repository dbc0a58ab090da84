"""Defines the recipe, which decides everything about a training run; its sections stand in the files beside this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.section import EncoderSection
from risctl.recipe.ablation import AblationSection
from risctl.recipe.data import DataSection
from risctl.recipe.document import dump
from risctl.recipe.optim import OptimSection
from risctl.recipe.stages import StageSection, merged
from risctl.recipe.train import EvalSection, TrainSection
from risctl.section import ModelSection, Section
from risctl.systems.registry import config_class, known_systems


class Recipe(Section):
    """A training run: model, data, optimizer, duration and evaluation.

    The forms of `model` are those of the known systems, which `include_systems` fills in.
    """

    model_config = ConfigDict(defer_build=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=100)] = Field(
        description="Name of the recipe and of its run folders: letters, digits and . _ + -", examples=["vlt-refcoco"]
    )
    description: str = Field(default="", max_length=500, description="One line for `risctl recipes ls`.")
    model: ModelSection = Field(description="The system and its hyperparameters.")
    data: DataSection = Field(description="The training data.")
    optim: OptimSection = Field(default_factory=OptimSection, description="The optimizer.")
    train: TrainSection = Field(description="The training run.")
    eval: EvalSection = Field(default_factory=EvalSection, description="How the model is evaluated.")
    ablation: AblationSection | None = Field(
        default=None, description="The row of a paper's table that the recipe is; null: none."
    )
    stages: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], StageSection] = Field(
        default_factory=dict,
        description="Stages of the training, in order, each with its changes; empty: the recipe in one stage.",
    )

    @model_validator(mode="before")
    @classmethod
    def _protocol_of_the_system(cls, values: Any) -> Any:
        """Fills in the protocol of the system where a recipe names none."""
        model, section = (values.get(name, {}) if isinstance(values, Mapping) else None for name in ("model", "eval"))
        if not isinstance(model, Mapping) or not isinstance(section, Mapping) or "protocol" in section:
            return values
        name = model.get("system")
        if not isinstance(name, str) or name not in known_systems(installed=False):
            return values
        return {**values, "eval": {"protocol": config_class(name).protocol, **section}}

    @field_validator("train")
    @classmethod
    def _milestones_fall_within_the_run(cls, value: TrainSection, info: ValidationInfo) -> TrainSection:
        optim: OptimSection | None = info.data.get("optim")
        if optim and any(milestone > value.epochs for milestone in optim.schedule.milestones):
            raise PydanticCustomError(
                "clash",
                "epochs no later than `train.epochs` ({epochs})",
                {"path": "optim.schedule.milestones", "epochs": value.epochs},
            )
        return value

    @model_validator(mode="after")
    def _every_stage_is_a_recipe(self) -> Recipe:
        for name in self.stages:
            try:
                self.stage(name)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(str(part) for part in first["loc"])
                raise PydanticCustomError(
                    "clash",
                    "{where} as the recipe takes it ({why})",
                    {"path": f"stages.{name}", "where": where, "why": first["msg"]},
                ) from None
        return self

    @property
    def eval_text_field(self) -> Literal["sent", "raw", "raw_lower"]:
        """The form of the sentences that is read in evaluation."""
        return self.eval.text_field or self.data.text_field

    def stage(self, name: str) -> Recipe:
        """Returns the recipe of the stage `name`, which has no stages itself. Raises `KeyError` if there is none."""
        values = self.model_dump(mode="json", exclude={"stages"})
        changes = self.stages[name].model_dump(mode="json")
        return Recipe.model_validate(merged(values, {**changes, "name": f"{self.name}-{name}"}))

    def resolved(self) -> Recipe:
        """Returns the recipe with the configurations of what it takes from transformers, so that it needs none of them.

        Raises:
            CheckpointError: A folder or hub id does not exist, or cannot be read.
            MachineError: The hub cannot be reached.
        """
        sections = {name: getattr(self.model, name, None) for name in ("visual", "text")}
        known = {name: one for name, one in sections.items() if isinstance(one, EncoderSection)}
        update = {name: section.resolved() for name, section in known.items()}
        return self.model_copy(update={"model": self.model.resolved().model_copy(update=update)})

    def to_yaml(self) -> str:
        """Returns the recipe as YAML with every key written out; it parses to an equal recipe."""
        return dump(self.model_dump(mode="json"))


def include_systems(*, installed: bool = True) -> None:
    """Makes `Recipe` accept the `model` section of every known system, also of those that were registered lately.

    Args:
        installed: Whether to look for systems of installed packages.
    """
    sections = tuple(config_class(name) for name in known_systems(installed=installed))
    field = Recipe.model_fields["model"]
    forms: Any = Union.__getitem__(sections)  # of as many as are known at run time
    if field.annotation != forms:
        field.annotation, field.discriminator = forms, "system"
        Recipe.model_rebuild(force=True)


include_systems(installed=False)


def recipe_json_schema(*, installed: bool = True) -> dict[str, Any]:
    """Returns the JSON Schema of recipes, for editors and as documentation.

    Args:
        installed: Whether to look for systems of installed packages.
    """
    include_systems(installed=installed)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Recipe.model_json_schema(),
        "title": "risctl recipe",
    }
