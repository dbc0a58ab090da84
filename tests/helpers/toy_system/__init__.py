"""A system from outside the package, as CONTRIBUTING.md describes it: `config`, `model` and `build` in one folder."""
