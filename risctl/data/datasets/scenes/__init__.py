"""Scenes: a synthetic referring-segmentation dataset, made without any download.

`outlines` and `shapes` say what things look like, `palette` in which colours, `sprites`, `backgrounds`, `layout` and
`render` make a picture; `facts` measures what is so in it, `phrases` is the meaning of expressions and `choice` picks
those that single out one thing, `language` words them; `generate` makes the `Dataset`.
"""

from risctl.data.datasets.scenes.generate import MadeScene, make_scene, make_scenes

__all__ = ["MadeScene", "make_scene", "make_scenes"]
