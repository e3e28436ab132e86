"""The command line `plait`. Level 7: commands over a node in this process, or over JSON-RPC to one that runs."""
