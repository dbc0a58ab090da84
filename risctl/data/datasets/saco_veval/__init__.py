"""SA-Co/VEval: videos with noun phrases and the tracks of every instance that each names, or none."""
