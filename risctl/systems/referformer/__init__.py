"""ReferFormer: language as queries for referring video object segmentation (Wu et al., CVPR 2022)."""
