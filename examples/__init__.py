"""Programs that use Plait as a stranger would: over its endpoints, with web3.py, eth-account and `plait.client`."""
