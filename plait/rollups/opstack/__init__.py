"""OP Stack rollups that exist outside: their execution engines, driven by the Engine API, and how they come and go."""
