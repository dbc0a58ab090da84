"""Global-Local CLIP (Yu et al., CVPR 2023): zero-shot referring segmentation."""
