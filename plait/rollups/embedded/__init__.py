"""Embedded rollups: their genesis, the deposits that open their blocks, and the development accounts they fund."""
