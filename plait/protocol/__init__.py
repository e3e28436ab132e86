"""The sequencing protocol: building, checking and applying proposals. Level 4."""
