"""Downloads of datasets and models: mirrors, resuming, checks, the Hugging Face hub."""
