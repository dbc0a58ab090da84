"""COCO divided into seen and unseen classes."""
