"""Runs trained models on images and videos."""
