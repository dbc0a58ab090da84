"""Generated referring expressions for the images of any COCO instance file, worded as people do."""
