"""Execution of candidates: one native session per rollup over the decided state. Level 2."""
