"""`risctl visualize`: draws datasets, predictions, and how a model arrived at its answer."""

from __future__ import annotations

import typer

from risctl.cli.visualize import data, detections, explain, predictions, proposals

app = typer.Typer(help="Draw datasets, predictions, and how a model arrived at its answer.", no_args_is_help=True)
app.command("data", epilog=data.EXAMPLE)(data.data)
app.command("predictions", epilog=predictions.EXAMPLE)(predictions.predictions)
app.command("detections", epilog=detections.EXAMPLE)(detections.detections)
app.command("proposals", epilog=proposals.EXAMPLE)(proposals.proposals)
for _view in explain.VIEWS:
    app.command(_view.name, help=_view.help, epilog=_view.epilog)(explain.command_of(_view))
