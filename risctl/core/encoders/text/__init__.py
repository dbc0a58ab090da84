"""Text encoders: `registry` names and builds them, `config` is their section of a recipe."""
