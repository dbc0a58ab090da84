"""`risctl demo`: a page in the browser where phrases are answered, from this machine or from any static host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import AnyModelOption, Device, DeviceOption, OverwriteOption, QuietOption, ThresholdOption
from risctl.errors import MachineError, UsageError

app = typer.Typer()


@app.command("demo", epilog="Example: risctl demo --model mini")
def demo(
    model: AnyModelOption = None,
    second: Annotated[
        str | None,
        typer.Option("--second", metavar="NAME", help="A second model, shown beside the first.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes one that is free.")] = 8765,
    share_on: Annotated[
        str | None,
        typer.Option(
            "--share-on",
            metavar="ADDRESS",
            help="An address of this machine that others may ask, such as 192.168.1.20; 0.0.0.0 for all of them. "
            "Without it, nobody but this machine may.",
            show_default=False,
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="RISCTL_DEMO_TOKEN",
            help="The secret that others must send, 16 characters or more. Default with --share-on: a new one.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="A further host name of the server, such as a proxy's; may be repeated.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = Device.auto,
    threshold: ThresholdOption = None,
    max_bytes: Annotated[int, typer.Option(min=1000, max=1_000_000_000, help="Most bytes of a request.")] = 20_000_000,
    max_pixels: Annotated[int, typer.Option(min=1, max=178_956_970, help="Most pixels of a picture.")] = 40_000_000,
    max_phrases: Annotated[int, typer.Option(min=1, max=1000, help="Most phrases of a request.")] = 16,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, help="Most seconds of a request.")] = 60.0,
    queue: Annotated[int, typer.Option(min=1, max=10_000, help="Most requests that wait.")] = 64,
    static: Annotated[
        Path | None,
        typer.Option(
            "--static",
            metavar="DIR",
            help="Write the page into this folder instead, for any static host: the model runs in the browser, and "
            "nothing is sent anywhere. For mini and models trained like it.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show a model on a page in the browser.

    Prints the page's address once it can be opened, and answers until Ctrl-C
    (exit code 130) or SIGTERM (143); what has begun is finished first. The
    page takes pictures and phrases and shows masks, scores and what the model
    shows of its answers; programs ask POST /v1/segment, described in
    /openapi.json.

    Pictures stay in memory, the last 32 of them, and are never written to the
    disk.

    With --static, no server is started: a folder is written whose page runs
    the model in the browser, from any static host. A browser loads some 26 MB
    once.
    """
    with console.quiet_if(quiet):
        if static is not None:
            given = {"--second": second, "--share-on": share_on, "--token": token, "--threshold": threshold}
            extra = [name for name, value in given.items() if value is not None]
            if extra:
                raise UsageError(f"{', '.join(extra)} is for the server; --static writes a folder and starts none")
            _write_static(static, model, overwrite=overwrite)
            return
        _require_packages()
        from risctl.demo.serve import LOOPBACK, address_of, checked_token, open_socket

        if share_on is None and token is not None:
            raise UsageError("--token keeps others out of what --share-on shares; give both, or neither")
        needed = None if share_on is None else checked_token(token)
        opened = open_socket(share_on or LOOPBACK, port)
        with opened:
            from risctl.demo.answering import ServedModel
            from risctl.demo.app import make_app
            from risctl.demo.limits import Limits
            from risctl.demo.serve import serve

            limits = Limits(
                body_bytes=max_bytes,
                held_bytes=16 * max_bytes,
                pixels=max_pixels,
                phrases=max_phrases,
                seconds=timeout,
                waiting=queue,
                waiting_per_client=max(1, queue // 2),
            )
            models = []
            names = [("first", str(model or "mini")), *([("second", second)] if second is not None else [])]
            for key, name in names:
                from risctl.cli.predict.opening import open_any
                from risctl.runtime.manifest import is_exported

                own = model if key == "first" else Path(name)
                # A server starts once; torch's models explain their answers and read videos.
                runtime = "onnx" if own is not None and is_exported(own) else "torch"
                predictor = open_any(
                    own, runtime=runtime, device=device.value, threshold=threshold, no_target_threshold=None
                )
                console.say(predictor.describe())
                models.append(ServedModel.of(predictor, key=key, name=name))
            made = make_app(
                models, limits=limits, token=needed, shared=share_on is not None, hosts=tuple(allow_host or ())
            )
            address = address_of(opened) + ("" if needed is None else f"#token={needed}")
            serve(made, opened, ready=lambda: console.result(address, data=None, as_json=False))


def _write_static(out: Path, model: Path | None, *, overwrite: bool) -> None:
    """Writes the page that needs no server, with an exported model or one that is exported for it."""
    import tempfile

    from risctl.demo.static_page import check_replaceable, write_static
    from risctl.runtime.manifest import is_exported
    from risctl.runtime.packaged import is_mini, mini_folder

    check_replaceable(out, overwrite=overwrite)
    ready = mini_folder() if is_mini(model) else model
    if ready is not None and is_exported(ready):
        size = write_static(out, ready, overwrite=overwrite)
    else:
        from risctl.export.folder import export_to

        console.say(f"exporting {model or 'mini'}; this takes a minute or two")
        with tempfile.TemporaryDirectory(prefix="risctl-demo-") as folder:
            exported = Path(folder) / "model.onnx"
            export_to(model or "mini", exported, format_name="onnx", precision="fp16")
            size = write_static(out, exported, overwrite=overwrite)
    console.say(f"{size / 1e6:.1f} MB; to look at it: python -m http.server --directory {out}")
    console.result(str(out / "index.html"), data=None, as_json=False)


def _require_packages() -> None:
    """Raises `MachineError` if a package is missing that the server needs."""
    from importlib.util import find_spec

    packages = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}
    missing = [package for name, package in packages.items() if find_spec(name) is None]
    if missing:
        raise MachineError(f"the demo needs {', '.join(missing)}: pip install 'risctl[demo]'")
