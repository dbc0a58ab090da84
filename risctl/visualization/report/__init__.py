"""An evaluation's report as Markdown and as one self-contained HTML page, both made from its JSON."""
