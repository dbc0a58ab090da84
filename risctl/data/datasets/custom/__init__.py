"""Custom datasets: JSON Lines, COCO-style JSON, or what an annotation tool wrote, as `FORMAT` describes them."""

FORMAT = """\
JSON Lines: a file FILE.jsonl, one target a line.

  {"image": "photos/1.jpg", "text": "the red cup", "mask": "masks/1-cup.png"}
  {"image": "photos/1.jpg", "texts": ["left cup", "cup on the left"], "mask": [[12, 30, 80, 30, 80, 95, 12, 95]]}
  {"image": "photos/1.jpg", "text": "both cups", "mask": {"size": [480, 640], "counts": [9600, 480, 297120]}}
  {"image": "photos/1.jpg", "text": "a zebra", "mask": null}

  image      path of the picture, from the folder of the file (or from --images), never outside of it
  text       what is said of the target; or
  texts      a list of such
  box        [x, y, width, height] in pixels, in place of a mask: the rectangle is the mask
  mask       null if the picture has nothing that the text is about, else one of
               the path of a PNG of the picture's size: what is not 0 is in the mask
               a polygon [x1, y1, x2, y2, x3, y3, ...] or [[x1, y1], [x2, y2], [x3, y3], ...] in pixels
               a list of polygons, which are united
               an RLE as COCO has them, {"size": [height, width], "counts": list or text}, or a list of such
  split      a name such as train, val or test; all lines have one, or none: then pictures are shared out (--splits)
  category   the class of the target, such as "cup"; without it "thing"
  abilities  a list of what it takes to understand the text, such as ["colour", "place"]; evaluation reports by them
  id         a whole number that is the target's own; image_id: one that is the picture's own

A table: FILE.csv, .tsv (UTF-8) or .parquet, or a folder of pictures with one (metadata.csv, or the only one there),
whose columns are named as above; "file_name" may stand for "image". A cell of mask is a path, or a polygon or RLE as
JSON; an empty one, without a box, says that nothing is there. A cell of box is "x y width height"; one of texts is a
JSON list, one of abilities a list between commas.

Pictures, masks and the file itself may be addresses: https://, s3://, gs://, hf:// (datasets of the Hugging Face hub).
They are fetched once, up to 200 MB each. s3 needs pip install 'risctl[s3]', gs 'risctl[gcs]', parquet 'risctl[tables]'.

COCO-style JSON: a file FILE.json, an object of lists.

  images       {"id", "file_name", "split"}
  categories   {"id", "name"}
  annotations  {"id", "image_id", "category_id", "segmentation"}; "mask" may stand for "segmentation", as above.
               With "text" or "texts" (and "abilities") it is a target; without, it is just another object there
  expressions  {"image_id", "annotation_ids", "text" or "texts", "abilities", "id"}, if you have any: several
               annotations make one target, no annotation makes a text that is about nothing
               Without "text", an annotation's "attributes" may have "phrase" or "phrases", as tools keep them.

What an annotation tool wrote: its folder or file, as `risctl convert` and `risctl predict --format` write them.
Pictures are those of images/ beside the folder or within it, or of --images.

  coco          instances.json, as above
  coco-results  results.json: a list of {"image_id" or "file_name", "text", "segmentation", "score"}
  labelme       JSON files; a shape's description is its phrase, lines of it are several; "no_target" is a list of
                phrases about nothing; parts of one object have one group_id
  yolo-seg      labels/NAME.txt, data.yaml, and phrases.jsonl: {"file_name", "line", "phrases"}, line 0 for nothing
  cvat          annotations.xml, "CVAT for images 1.1"; attribute "phrase"; a tag "nothing" has one of nothing
  label-studio  tasks.json, tasks with data.image and data.phrase; a task without a mask is about nothing
  davis         Annotations/NAME.png by index, and phrases.jsonl: {"file_name", "index", "phrases"}, index 0 for nothing

A picture that is stored turned (EXIF) is stored upright, as viewers show it: masks are of the upright picture.
"""
