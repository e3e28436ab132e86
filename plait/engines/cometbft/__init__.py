"""The engine of a network: CometBFT v0.38, driven through ABCI 2.0 over a unix socket. Level 5."""
