"""Drawing of how a system came to its prediction: one file per kind of contact sheet."""
