"""Ref-YouTube-VOS and Ref-DAVIS17."""
