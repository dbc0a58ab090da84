"""The demo: a page in the browser where phrases are answered, its server, and the same page without a server."""
