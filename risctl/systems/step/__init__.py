"""STEP: see-through-text grouping for referring image segmentation (Chen et al., ICCV 2019)."""
