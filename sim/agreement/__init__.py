"""Agreement among simulated nodes, message by message: the published Tendermint algorithm over a virtual clock.

Stands in for CometBFT where a test must decide every delay, loss and lie itself; the tests with real processes show
that CometBFT does the same. What CometBFT keeps safe for itself (its signer's guard, its write-ahead log, its block
store) is taken as safe here; what Plait keeps (the decided log, snapshots) lies on a disk that forgets.
"""
