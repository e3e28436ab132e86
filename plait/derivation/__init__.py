"""The OP Stack's derivation rules and codecs: from facts of L1 to rollup blocks. Pure; level 2."""
