"""PBench: pictures with expressions of six levels and every instance that each names, or none."""
