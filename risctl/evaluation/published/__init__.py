"""Published figures as data files with their sources, and our own figures beside them."""
