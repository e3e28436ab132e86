"""L1 as the rollups see it: a deterministic synthetic chain now, a watched real one later."""
