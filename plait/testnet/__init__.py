"""A local network of real processes: homes, node processes, the links between them, and ways to break them.

links       TCP proxies between nodes that can be cut or made silent
layout      what is in the network's directory: its nodes, their homes and ports
member      one node process and its life
supervisor  all of them, and every command that changes them
chaos       faults of links: who is separated from whom
control     a unix socket through which another terminal gives commands

Beside `plait.node`: it may import the node, engines and the client; the command line imports it.
"""
