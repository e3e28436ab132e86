"""Ordering policies: pure functions that say in which order transactions go and whether an order is right. Level 2."""
