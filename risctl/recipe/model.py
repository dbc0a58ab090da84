"""Every system's `model` section, told apart by `system`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from risctl.systems.mini.config import MiniModel
from risctl.systems.referformer.config import ReferFormerModel
from risctl.systems.step.config import StepModel
from risctl.systems.vlt.config import VLTModel
from risctl.systems.zsi.config import ZSIModel

ModelSection = Annotated[VLTModel | StepModel | ReferFormerModel | ZSIModel | MiniModel, Field(discriminator="system")]
