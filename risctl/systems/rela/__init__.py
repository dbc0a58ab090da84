"""ReLA: generalised referring expression segmentation (Liu et al., CVPR 2023)."""
