"""RefCOCO's families as tables of the Hugging Face hub."""
