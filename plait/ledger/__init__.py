"""The network's own replicated state: parameters, the registry of rollups, their heads. Level 3, pure."""
