"""Which method of the Engine API serves which fork of the OP Stack.

Source: OP Stack specs, exec-engine; execution-apis, engine/{cancun,prague,osaka}. A forkchoice update is V3 throughout.
Karst brings getPayload V5 and nothing else. Level 5, pure.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

EngineFork = Literal["ecotone", "fjord", "granite", "holocene", "isthmus", "jovian", "karst"]
ENGINE_FORKS: Final[tuple[EngineFork, ...]] = get_args(EngineFork)
"""In the order of their activation."""


class EngineMethods(msgspec.Struct, frozen=True):
    """Names of the three methods, and what their payloads hold.

    Fields:
        execution_requests: newPayload has the fourth parameter, and payloads have `withdrawalsRoot` (Isthmus).
        fee_parameters: attributes have `eip1559Params`, extraData has a version (Holocene).
        min_base_fee: attributes have `minBaseFee`, extraData its 17-byte form (Jovian).
    """

    get_payload: str
    new_payload: str
    execution_requests: bool
    fee_parameters: bool
    min_base_fee: bool
    forkchoice_updated: str = "engine_forkchoiceUpdatedV3"

    def names(self) -> tuple[str, str, str]:
        """The methods that an engine must offer."""
        return self.forkchoice_updated, self.get_payload, self.new_payload


def at_least(fork: EngineFork, other: EngineFork) -> bool:
    """Whether `fork` is `other` or a later one."""
    return ENGINE_FORKS.index(fork) >= ENGINE_FORKS.index(other)


def _methods(fork: EngineFork) -> EngineMethods:
    isthmus = at_least(fork, "isthmus")
    get_payload = 5 if at_least(fork, "karst") else 4 if isthmus else 3
    return EngineMethods(
        get_payload=f"engine_getPayloadV{get_payload}",
        new_payload=f"engine_newPayloadV{4 if isthmus else 3}",
        execution_requests=isthmus,
        fee_parameters=at_least(fork, "holocene"),
        min_base_fee=at_least(fork, "jovian"),
    )


METHODS: Final[Mapping[EngineFork, EngineMethods]] = {fork: _methods(fork) for fork in ENGINE_FORKS}
