"""LAVT: language-aware vision transformer (Yang et al., CVPR 2022)."""
