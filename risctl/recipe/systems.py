"""Every system's `model` section, told apart by `system`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from risctl.recipe.mini import MiniModel
from risctl.recipe.model import VLTModel
from risctl.recipe.referformer import ReferFormerModel
from risctl.recipe.step import StepModel
from risctl.recipe.zsi import ZSIModel

ModelSection = Annotated[VLTModel | StepModel | ReferFormerModel | ZSIModel | MiniModel, Field(discriminator="system")]
