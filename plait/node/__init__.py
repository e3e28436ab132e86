"""The node: configuration, wiring, lifecycle, clock, metrics, logs. Level 6; holds no policy."""
