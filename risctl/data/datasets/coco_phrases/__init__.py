"""Referring expressions made for any COCO instance file, in the style in which people speak of pictures."""
