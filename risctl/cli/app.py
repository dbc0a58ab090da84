"""The `risctl` entry point: the list of subcommands, and how their errors become exit codes.

A subcommand's module is imported only when that subcommand runs. Neither this module nor the top level of a
subcommand's module imports torch, numpy or another heavy package, so that `--help` stays fast.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from risctl import __version__
from risctl.errors import EXIT_CODES, MachineError, RisctlError
from risctl.interrupts import Terminated, raise_on_sigterm

DESCRIPTION = "Referring image segmentation: give it a picture and a phrase, get the mask."
EPILOG = f"Exit codes: {', '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}."

_SIGNALLED: dict[Any, str] = {130: "interrupted", 143: "terminated"}

WORKFLOW = "Workflow"
MODELS = "Recipes and published weights"
MAINTENANCE = "Maintenance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subcommand:
    """An entry of the top-level help.

    Attributes:
        module: The module whose `app` is the subcommand.
        help: Its line in the help: the first sentence of its own help.
        panel: The panel of the help in which it is listed.
    """

    module: str
    help: str
    panel: str


# In the order of the help, which is that of the work.
SUBCOMMANDS = {
    "prepare": Subcommand(
        module="risctl.cli.prepare.app",
        help="Turn a dataset into a store: one file that training and evaluation read.",
        panel=WORKFLOW,
    ),
    "data": Subcommand(
        module="risctl.cli.data",
        help="List the known datasets; check, count and show your own files and stores.",
        panel=WORKFLOW,
    ),
    "train": Subcommand(module="risctl.cli.train.command", help="Train a model from a recipe.", panel=WORKFLOW),
    "sweep": Subcommand(
        module="risctl.cli.sweep",
        help="Train a recipe with each combination of values and several seeds; print one table.",
        panel=WORKFLOW,
    ),
    "report": Subcommand(
        module="risctl.cli.report",
        help="Draw the learning curves of runs, or of all runs of a sweep, on one page.",
        panel=WORKFLOW,
    ),
    "eval": Subcommand(
        module="risctl.cli.eval.command",
        help="Evaluate a trained model: oIoU, mIoU and Pr@X with their protocol, counts and confidence intervals.",
        panel=WORKFLOW,
    ),
    "score": Subcommand(
        module="risctl.cli.score",
        help="Judge masks that any other tool wrote: figures, rows and report as `eval` gives them, without a model.",
        panel=WORKFLOW,
    ),
    "compare": Subcommand(
        module="risctl.cli.compare",
        help="Compare evaluations sample by sample, with confidence intervals of the differences.",
        panel=WORKFLOW,
    ),
    "predict": Subcommand(
        module="risctl.cli.predict.command",
        help="Segment what phrases refer to in pictures or a video.",
        panel=WORKFLOW,
    ),
    "label": Subcommand(
        module="risctl.cli.label.app",
        help="Label a collection of pictures: rows of picture and phrase with score, box and mask.",
        panel=WORKFLOW,
    ),
    "convert": Subcommand(
        module="risctl.cli.convert",
        help="Write images, masks and phrases in the formats that annotation tools open.",
        panel=WORKFLOW,
    ),
    "visualize": Subcommand(
        module="risctl.cli.visualize.app",
        help="Draw datasets, predictions, and how a model arrived at its answer.",
        panel=WORKFLOW,
    ),
    "demo": Subcommand(
        module="risctl.cli.demo",
        help="Show a model on a page in the browser.",
        panel=WORKFLOW,
    ),
    "zeroshot": Subcommand(
        module="risctl.cli.zeroshot.app",
        help="Segment phrases without training: Global-Local CLIP over mask proposals.",
        panel=WORKFLOW,
    ),
    "recipes": Subcommand(
        module="risctl.cli.recipes",
        help="List, show, copy and check recipes: the YAML files that define a training run.",
        panel=MODELS,
    ),
    "models": Subcommand(
        module="risctl.cli.models",
        help="List, show, download, verify, save, calibrate and remove models.",
        panel=MODELS,
    ),
    "push": Subcommand(
        module="risctl.cli.push",
        help="Upload a trained model to the Hugging Face hub, for --model hf:USER/REPO.",
        panel=MODELS,
    ),
    "checkpoints": Subcommand(
        module="risctl.cli.checkpoints",
        help="Average the weights of several checkpoints.",
        panel=MODELS,
    ),
    "import": Subcommand(
        module="risctl.cli.import_.app",
        help="Convert published weights into risctl's checkpoints and backbones.",
        panel=MODELS,
    ),
    "export": Subcommand(
        module="risctl.cli.export",
        help="Write a model as graphs for ONNX Runtime and other engines.",
        panel=MODELS,
    ),
    "cache": Subcommand(
        module="risctl.cli.cache",
        help="List, verify and clear cached downloads, word vectors and features.",
        panel=MAINTENANCE,
    ),
    "doctor": Subcommand(
        module="risctl.cli.doctor",
        help="Check the installation: versions, devices, disk space, datasets and models.",
        panel=MAINTENANCE,
    ),
}


class LazyGroup(TyperGroup):
    """The subcommands, each imported only when it is run; help and shell completion need their names only."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, entry in SUBCOMMANDS.items():
            self.commands[name] = TyperCommand(name=name, help=entry.help, rich_help_panel=entry.panel)

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of the subcommands in the order of the help."""
        return list(SUBCOMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Returns the name, the imported command and the remaining arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self.load(name) if name in SUBCOMMANDS else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Runs the subcommand.

        Typer would give SIGTERM, a kind of KeyboardInterrupt here, the code of Ctrl-C, and would end in silence at a
        pipe to a process that is gone.
        """
        from risctl.cli.streams import escaped_logs

        try:
            with _escaped_usage_errors(), escaped_logs():
                return super().invoke(ctx)
        except Terminated as error:
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            where = f": {os.fspath(error.filename)!r}" if isinstance(error.filename, str | os.PathLike) else ""
            raise MachineError(f"{error.strerror or error}{where}") from error

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the options of the top level."""
        with _escaped_usage_errors():
            return super().parse_args(ctx, args)

    @staticmethod
    def load(name: str) -> Any:
        """Imports a subcommand and returns its command or group."""
        module = import_module(SUBCOMMANDS[name].module)
        module.app._add_completion = False  # the shell's completion is installed by the top level
        command = typer.main.get_command(module.app)
        command.name = name
        return command


@contextmanager
def _escaped_usage_errors() -> Iterator[None]:
    """Writes out the control characters of what typer says of a wrong command line, which may hold file names."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and isinstance(getattr(error, "message", None), str):
            from risctl.cli.streams import escaped

            error.message = escaped(error.message, keep="\n")  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    name="risctl",
    cls=LazyGroup,
    help=DESCRIPTION,
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        from risctl.cli import console

        console.result(f"risctl {__version__}", data=None, as_json=False)
        raise typer.Exit


@app.callback(help=DESCRIPTION)
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Holds the options of the top level."""


def main() -> None:
    """Runs the command line; every known error is one line on stderr and its documented exit code."""
    # On a busy machine libgomp's threads spin some 14 ms at every barrier for one that waits for a core, which makes
    # two threads ten times slower than one. Before torch is loaded this shortens it to some 0.1 ms.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # Of several processes each would remark, in torch's own words, where a loss reads the whole model.
    if "WORLD_SIZE" in os.environ:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from risctl.cli.streams import standard_streams
    from risctl.threads import watch

    watch()
    raise_on_sigterm()
    with standard_streams(), warnings.catch_warnings():
        warnings.showwarning = _show_warning
        code = _exit_code()
        try:
            sys.stdout.flush()
        except RisctlError as error:
            if code == 0:
                code = _fail(str(error), error.exit_code)
    sys.exit(code)


def _exit_code() -> int:
    """Runs the command line and returns the code to end with."""
    try:
        app(prog_name="risctl")
    except RisctlError as error:
        # Of the processes of a training one tells what ended all.
        return error.exit_code if getattr(error, "told_by_another", False) else _fail(str(error), error.exit_code)
    except KeyboardInterrupt as error:
        code: int = getattr(error, "exit_code", 130)
        return _fail(_SIGNALLED[code], code)
    except SystemExit as exiting:
        code = exiting.code if isinstance(exiting.code, int) else int(exiting.code is not None)
        # Typer turns Ctrl-C into this code by itself, without a message.
        return _fail(_SIGNALLED[code], code) if code in _SIGNALLED else code
    except MemoryError:
        return _fail("not enough memory; `risctl doctor` says how much there is", MachineError.exit_code)
    except Exception:
        # A mistake of risctl's. Its text may hold names too.
        return _fail(f"unexpected; please report it with what `risctl doctor` says\n{traceback.format_exc()}", 1)
    return 0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    from risctl.cli import console

    console.warn(str(message))


def _fail(message: str, code: int) -> int:
    from risctl.cli import console

    console.hide_bars()
    console.fail(message)
    return code
