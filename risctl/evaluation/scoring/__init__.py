"""Scores masks that other tools wrote: reads their files, matches them with a store, and measures them."""
