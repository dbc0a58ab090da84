"""CRIS: CLIP-driven referring image segmentation (Wang et al., CVPR 2022)."""
