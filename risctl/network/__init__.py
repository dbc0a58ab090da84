"""Bounded downloads over HTTP and from the Hugging Face hub, for any room."""
