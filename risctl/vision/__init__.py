"""Images, videos, masks and geometry, without models."""
