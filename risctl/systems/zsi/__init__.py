"""ZSI: zero-shot instance segmentation (Zheng et al., CVPR 2021)."""
