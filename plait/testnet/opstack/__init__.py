"""Real OP Stack rollups on one machine: an L1, Plait as their sequencer, and for each a verifier that trusts L1 alone.

programs    where op-geth, op-node and anvil are found, and that they are built where they can be
processes   one foreign program and its life
layout      what is in the directory: ports, keys, the files of every rollup
founding    makes a new one: L1 contracts, genesis, rollup configurations
supervisor  all processes together, started and stopped in the right order
heads       unsafe, safe and finalized heads of both sides, and whether they agree

Beside `plait.testnet`, whose control socket it uses; the command line imports it.
"""
