"""Opens models of transformers from a folder or hub id, with clear errors for another kind or missing files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from risctl.data.download.hub import Wanted, model_folder
from risctl.errors import CheckpointError, MachineError


class Pretrained:
    """A model's folder in Hugging Face's layout.

    Attributes:
        folder: Where it is.
        kind: Its `model_type`.
    """

    def __init__(self, source: str, *, what: str, kinds: Sequence[str], wanted: Wanted, option: str) -> None:
        """Finds the folder of `source`, downloaded if need be, and its kind.

        Args:
            source: A folder or a hub id.
            what: What it is to be, with its article, for messages.
            kinds: The `model_type`s that are accepted.
            wanted: The files that it needs.
            option: The option that names it, for messages.

        Raises:
            CheckpointError: It is of another kind, or lacks files.
            MachineError: It is neither here nor to be had.
        """
        from transformers import AutoConfig

        self._what = what
        self.folder = model_folder(source, wanted, option=option)
        with self._reading():
            self.kind: str = AutoConfig.from_pretrained(str(self.folder)).model_type
        if self.kind not in kinds:
            raise CheckpointError(f"expected {what} ({' or '.join(kinds)}) at {source}, got {self.kind}")

    def model(self, of: Any) -> Any:
        """Returns the model, by a class of transformers. Raises `CheckpointError` if tensors are missing."""
        with self._reading():
            model, report = of.from_pretrained(str(self.folder), local_files_only=True, output_loading_info=True)
        missing = sorted(report["missing_keys"])
        if missing:
            raise CheckpointError(
                f"{self.folder} is not a complete model: {len(missing)} tensors are missing, such as {missing[0]}"
            )
        return model

    def part(self, of: Any) -> Any:
        """Returns its processor or tokenizer, by a class of transformers."""
        with self._reading():
            return of.from_pretrained(str(self.folder), local_files_only=True)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        import safetensors
        from transformers.utils import logging

        bars = logging.is_progress_bar_enabled()
        # The library's own bars would be drawn even where nobody looks.
        logging.disable_progress_bar()
        try:
            yield
        except ImportError as error:
            raise MachineError(
                f"{self._what} of {self.folder} needs a package that is not installed: {_first_line(error)}"
            ) from error
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{self.folder} cannot be read as {self._what}: {_first_line(error)}") from error
        finally:
            if bars:
                logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
