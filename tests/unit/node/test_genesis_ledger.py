"""A network's configuration decides the first ledger: owners, terms, escrows, accounts and validators."""

import msgspec
import pytest

from plait.errors import ConfigurationError
from plait.ledger.economy import holdings
from plait.ledger.rollup_records import NetworkMode, rollup_key
from plait.node.config import AccountConfig, NetworkConfig, RollupConfig, ValidatorConfig
from plait.node.genesis import genesis_ledger
from plait.types import Hash32, RollupId

OWNER = "0x" + "11" * 20
NETWORK = NetworkConfig(
    genesis_time_s=1_790_000_000,
    mode="protocol_specific",
    rollups=(
        RollupConfig(chain_id=901, owner=OWNER, fee_per_slot=7, fee_per_transaction=3, revenue_share_ppm=10, escrow=90),
        RollupConfig(chain_id=902),
    ),
    accounts=(AccountConfig(address=OWNER, balance=5),),
    validators=(ValidatorConfig(operator=OWNER, public_key="0x" + "22" * 32, stake=10**18, name="one"),),
)


def test_rollups_of_the_genesis_have_the_owners_and_terms_of_the_configuration() -> None:
    ledger = genesis_ledger(NETWORK, {RollupId(i): Hash32(bytes([i % 256]) * 32) for i in (901, 902)})
    paying = ledger.economy.rollups.get(rollup_key(901))
    free = ledger.economy.rollups.get(rollup_key(902))
    assert paying is not None
    assert free is not None
    assert paying.owner.hex() == OWNER[2:]
    assert msgspec.structs.astuple(paying.terms) == (7, 3, 10)
    assert paying.escrow == 90
    assert (free.owner, msgspec.structs.astuple(free.terms), free.escrow) == (bytes(20), (0, 0, 0), 0)
    assert ledger.economy.mode is NetworkMode.PROTOCOL_SPECIFIC
    assert holdings(ledger.economy).total == 5 + 90 + 10**18 == ledger.economy.supply.genesis


@pytest.mark.parametrize(
    "change", [{"fee_per_slot": -1}, {"escrow": 2**128}, {"revenue_share_ppm": 1_000_001}, {"owner": "", "escrow": 1}]
)
def test_terms_that_cannot_be_kept_are_refused(change: dict[str, object]) -> None:
    rollups = (msgspec.structs.replace(NETWORK.rollups[0], **change), NETWORK.rollups[1])
    with pytest.raises(ConfigurationError) as refused:
        msgspec.structs.replace(NETWORK, rollups=rollups).check()
    assert refused.value.code == "rollup_terms_out_of_range"
