"""`risctl import`: converts published weights into checkpoints and backbones."""

from __future__ import annotations

import typer

from risctl.cli.import_ import cris, darknet53, deeplab, lavt, nanodet_plus, referformer, rela, vlt, zsi

app = typer.Typer(help="Convert published weights into risctl's checkpoints and backbones.", no_args_is_help=True)
app.command("vlt", epilog=vlt.EXAMPLE)(vlt.import_vlt)
app.command("referformer", epilog=referformer.EXAMPLE)(referformer.import_referformer)
app.command("lavt", epilog=lavt.EXAMPLE)(lavt.import_lavt)
app.command("rela", epilog=rela.EXAMPLE)(rela.import_rela)
app.command("cris", epilog=cris.EXAMPLE)(cris.import_cris)
app.command("zsi", epilog=zsi.EXAMPLE)(zsi.import_zsi)
app.command("darknet53", epilog=darknet53.EXAMPLE)(darknet53.import_darknet53)
app.command("deeplab-resnet101", epilog=deeplab.EXAMPLE)(deeplab.import_deeplab)
app.command("nanodet-plus", epilog=nanodet_plus.EXAMPLE)(nanodet_plus.import_nanodet_plus)
