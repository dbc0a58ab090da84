"""`risctl zeroshot`: segments phrases without training, by CLIP and mask proposals."""

from __future__ import annotations

import typer

from risctl.cli.zeroshot import eval as evaluation
from risctl.cli.zeroshot import predict

app = typer.Typer(help="Segment phrases without training: Global-Local CLIP over mask proposals.", no_args_is_help=True)
app.command("predict", epilog=predict.EXAMPLE)(predict.predict)
app.command("eval", epilog=evaluation.EXAMPLE)(evaluation.evaluate)
