"""SA-Co: pictures with noun phrases and every instance that each names, or none."""
