"""The stories of the demonstration: each a trade that touches two rollups, and its failing twin."""
