"""A waiting transaction becomes executable when somebody else's transaction moves its sender's nonce.

An EIP-7702 authorization uses up a nonce of whoever signed it, whoever sends it. A transaction behind that nonce stood
as `queued` until its sender sent something else, though nothing was missing any more.
"""

from plait.mempool import Decided
from plait.mempool.history import PENDING, QUEUED
from plait.types import RollupId
from sim.pooling import TO, USERS, PooledNetwork, transfer

ID = RollupId(901)


def test_a_transaction_behind_a_nonce_that_anothers_transaction_used_up() -> None:
    network = PooledNetwork(USERS)
    sponsor, authority = USERS[:2]
    behind = transfer(1, 1)
    (admitted,) = network.pool.submit(ID, [behind], network.time_ms)
    assert network.pool.status(ID, admitted.hash) == QUEUED
    sponsored = sponsor.sign_7702(901, 0, to=TO, authorizations=[authority.authorize(901, 0)], gas_limit=100_000)
    network.pool.submit(ID, [sponsored], network.time_ms)
    network.decide()
    assert network.pool.status(ID, admitted.hash) == PENDING
    network.decide()
    assert isinstance(network.pool.status(ID, admitted.hash), Decided)
