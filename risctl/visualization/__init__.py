"""Drawing of data, of predictions that were made, and of evaluations."""
