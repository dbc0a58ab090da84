"""Says of what is no checkpoint of risctl why it cannot be exported."""

from __future__ import annotations

from pathlib import Path

from risctl.checkpoints.hub_checkpoint import HUB
from risctl.errors import UsageError
from risctl.models.names import parse_name
from risctl.runtime.manifest import is_exported


def refuse_what_is_no_checkpoint(model: str | Path) -> None:
    """Refuses models that predict but have no graphs here: those of transformers, and what is exported already.

    Args:
        model: What the person named. What is neither is left to `load_checkpoint`.

    Raises:
        UsageError: It is one of these, or its name is nearly one of a known model.
    """
    if is_exported(Path(model)):
        raise UsageError(f"{model} is exported already; name the run folder or checkpoint that it was made from")
    name = parse_name(model)
    # Whether a repository of the hub is a checkpoint is known once it is fetched: what opens it says what it holds.
    alone_on_the_hub = str(model).startswith(HUB) and name is not None and len(name.sources) == 1
    if name is not None and not alone_on_the_hub:
        why = (
            "CLIP looks at each instance that mini finds, whose number depends on the image (its towers alone can be: "
            "risctl export --clip SOURCE)"
            if name.is_global_local
            else "transformers computes it, whole or in part, and risctl writes graphs of its own checkpoints only"
        )
        raise UsageError(f"{name.name} cannot be exported: {why}; name mini, a run folder or a checkpoint file")
