"""Evaluates models on images, videos and instances, and reports their figures."""
