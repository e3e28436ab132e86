"""The price of blobs on L1: the blob base fee of a header's excess blob gas, by the chain's blob schedule. Pure.

Specification (EIP-4844 with EIP-7691 and EIP-7892)
    fee = fake_exponential(1, excess blob gas, update fraction) in wei. The update fraction is that of the schedule's
    entry that is active at the block's time. A header without excess blob gas (before Cancun) has the minimum, 1 wei.
    op-node restates this fee in every rollup block, so a wrong schedule gives blocks that derivation does not give.
    The schedule is the L1 chain configuration's: known for Ethereum, Sepolia and Hoodi; another chain (a development
    L1) has Osaka from genesis on, which is what op-node must be told by its L1 chain configuration file.
Source: op-geth params/config.go (schedules and times of the public chains), consensus/misc/eip4844.
"""

from typing import Final

import msgspec

from plait.types import Gas, Seconds, Wei

BLOB_BASE_FEE_MIN_WEI: Final = Wei(1)

UPDATE_FRACTION_CANCUN: Final = 3_338_477
UPDATE_FRACTION_PRAGUE: Final = 5_007_716
UPDATE_FRACTION_BPO1: Final = 8_346_193
UPDATE_FRACTION_BPO2: Final = 11_684_671


class BlobScheduleEntry(msgspec.Struct, frozen=True):
    """From a time on, the update fraction of the blob base fee."""

    time_s: Seconds
    update_fraction: int


BlobSchedule = tuple[BlobScheduleEntry, ...]
"""Ascending in time."""


def _schedule(*entries: tuple[int, int]) -> BlobSchedule:
    return tuple(BlobScheduleEntry(Seconds(time_s), fraction) for time_s, fraction in entries)


DEVELOPMENT_SCHEDULE: Final = _schedule((0, UPDATE_FRACTION_PRAGUE))
"""Osaka, whose blob parameters are Prague's, from genesis on: a development node's default."""


def _public(cancun_s: int, prague_s: int, bpo1_s: int, bpo2_s: int) -> BlobSchedule:
    """Of a public chain by the times of its forks; Osaka itself left the parameters as they were."""
    return _schedule(
        (cancun_s, UPDATE_FRACTION_CANCUN),
        (prague_s, UPDATE_FRACTION_PRAGUE),
        (bpo1_s, UPDATE_FRACTION_BPO1),
        (bpo2_s, UPDATE_FRACTION_BPO2),
    )


PUBLIC_SCHEDULES: Final[dict[int, BlobSchedule]] = {
    1: _public(1_710_338_135, 1_746_612_311, 1_765_290_071, 1_767_747_671),
    11_155_111: _public(1_706_655_072, 1_741_159_776, 1_761_017_184, 1_761_607_008),
    560_048: _public(0, 1_742_999_832, 1_762_365_720, 1_762_955_544),
}
"""By chain id: Ethereum, Sepolia, Hoodi."""


def blob_schedule(l1_chain_id: int) -> BlobSchedule:
    """The schedule of a chain; of an unknown one, a development L1's."""
    return PUBLIC_SCHEDULES.get(l1_chain_id, DEVELOPMENT_SCHEDULE)


def blob_base_fee(excess_blob_gas: Gas | None, time_s: Seconds, schedule: BlobSchedule) -> Wei:
    """Blob base fee of a block, in wei.

    Args:
        excess_blob_gas: of its header; None before Cancun.
        time_s: its timestamp.
        schedule: of its chain, ascending in time.
    """
    if excess_blob_gas is None:
        return BLOB_BASE_FEE_MIN_WEI
    fraction = 0
    for entry in schedule:
        if entry.time_s <= time_s:
            fraction = entry.update_fraction
    if fraction == 0:
        return BLOB_BASE_FEE_MIN_WEI
    return Wei(_fake_exponential(BLOB_BASE_FEE_MIN_WEI, excess_blob_gas, fraction))


def _fake_exponential(factor: int, numerator: int, denominator: int) -> int:
    """factor * e ** (numerator / denominator), rounded down, by its Taylor series in integers."""
    index = 1
    output = 0
    term = factor * denominator
    while term > 0:
        output += term
        term = term * numerator // (denominator * index)
        index += 1
    return output // denominator
