"""ReasonSeg: images with questions that take reasoning, and regions that evaluation ignores."""
