"""Opens models of transformers from a folder or hub id, with clear errors for another kind or missing files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from risctl.data.download.hub import Wanted, model_folder
from risctl.data.download.model_files import check_model_fits
from risctl.errors import CheckpointError, MachineError, RisctlError


class Pretrained:
    """A model's folder in Hugging Face's layout.

    Attributes:
        folder: Where it is.
        kind: Its `model_type`.
        architectures: The classes that its weights were saved from, as its configuration names them.
    """

    def __init__(self, source: str, *, what: str, kinds: Sequence[str] | None, wanted: Wanted, option: str) -> None:
        """Finds the folder of `source`, downloaded if need be, and its kind.

        Args:
            source: A folder or a hub id.
            what: What it is to be, with its article, for messages.
            kinds: The `model_type`s that are accepted; None: any that transformers knows.
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
            config = AutoConfig.from_pretrained(str(self.folder), local_files_only=True, trust_remote_code=False)
            self.kind: str = config.model_type
            self.architectures = tuple(config.architectures or ())
        if kinds is not None and self.kind not in kinds:
            raise CheckpointError(f"expected {what} ({' or '.join(kinds)}) at {source}, got {self.kind}")

    def model(self, of: Any, *, renamed: Mapping[str, str] | None = None) -> Any:
        """Returns the model, by a class of transformers.

        Args:
            of: The class.
            renamed: Names of tensors as regular expressions, with those that the class gives them, beside what
                transformers itself renames.

        Raises:
            CheckpointError: Tensors are missing, or the configuration asks for more than the weights can fill.
        """
        with self._reading():
            check_model_fits(self.folder, lambda: _by_configuration(of, self.folder))
            model, report = of.from_pretrained(
                str(self.folder),
                local_files_only=True,
                output_loading_info=True,
                **({} if renamed is None else {"key_mapping": dict(renamed)}),
                **_no_code(of),
            )
        missing = sorted(report["missing_keys"])
        if missing:
            raise CheckpointError(
                f"{self.folder} is not a complete model: {len(missing)} tensors are missing, such as {missing[0]}"
            )
        return model

    def part(self, of: Any, **settings: Any) -> Any:
        """Returns its processor or tokenizer, by a class of transformers, with settings in place of its own."""
        with self._reading():
            return of.from_pretrained(str(self.folder), local_files_only=True, **_no_code(of), **settings)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with quietly():
                yield
        except RisctlError:
            raise
        except ImportError as error:
            raise MachineError(
                f"{self._what} of {self.folder} needs a package that is not installed: {_first_line(error)}"
            ) from error
        except Exception as error:  # the library checks little of what it reads
            raise CheckpointError(f"{self.folder} cannot be read as {self._what}: {_first_line(error)}") from error


@contextmanager
def quietly() -> Iterator[None]:
    """Keeps transformers from drawing bars and tables of its own within the block; what matters is told as an error."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _no_code(of: Any) -> dict[str, Any]:
    """Returns the options by which transformers never asks whether to run the code of a folder."""
    return {"trust_remote_code": False} if of.__name__.startswith("Auto") else {}


def _by_configuration(of: Any, folder: Path) -> Any:
    """Returns the model that a folder's configuration describes, without its weights."""
    if hasattr(of, "from_config"):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        return of.from_config(config, trust_remote_code=False)
    return of(of.config_class.from_pretrained(str(folder), local_files_only=True))


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
