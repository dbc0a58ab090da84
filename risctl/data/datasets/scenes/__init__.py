"""Scenes: a synthetic referring-segmentation dataset, made without a download.

`outlines` and `shapes` draw the objects, `palette` their colours; `sprites`, `backgrounds`, `layout` and `render` make
an image. `spatial_relations` measures what holds in it, `phrases` defines the meaning of expressions,
`expression_sampling` picks those that single out one object and `language` words them. `generate` makes the `Dataset`.
"""
