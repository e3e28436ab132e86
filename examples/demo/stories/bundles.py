"""What every story does with a bundle: send it and see it sealed, or send its twin and see that nothing happens."""

from typing import Any

from examples.demo.footprint import Footprint
from examples.demo.reasons import explain_failure
from examples.demo.show import DemoFailure, require, say
from plait.client import Bundle, BundleDropped, Client

DEADLINE_SLOTS = 10
TWIN_DEADLINE_SLOTS = 2


async def slot_now(client: Client) -> int:
    """The slot that the clock is in."""
    return int((await client.call("plait_slot"))["clockSlot"])


async def happens(client: Client, bundle: Bundle) -> dict[str, Any]:
    """Simulates and sends a bundle and waits until it is sealed. Raises DemoFailure when it does not take place."""
    bundle.deadline(await slot_now(client) + DEADLINE_SLOTS)
    simulated = await client.simulate(bundle)
    if not simulated["success"]:
        raise DemoFailure(f"The bundle would fail: {explain_failure(simulated['failure'])}")
    await client.send(bundle)
    try:
        return await bundle.wait("sealed")
    except BundleDropped as dropped:
        raise DemoFailure(f"The bundle was dropped: {dropped.message}") from None


async def fails(client: Client, bundle: Bundle, footprint: Footprint, code: str = "bundle_leg_failed") -> None:
    """Sends a bundle that cannot take place, waits until it is dropped, and shows that there is no trace of it.

    Args:
        client: of the network.
        bundle: sent although its simulation says that it fails: the network must not rely on polite senders.
        footprint: of everybody who would be touched.
        code: the reason that is expected.
    """
    before = footprint.take()
    bundle.deadline(await slot_now(client) + TWIN_DEADLINE_SLOTS)
    simulated = await client.simulate(bundle)
    require(not simulated["success"], "The twin should fail, but its simulation succeeds.")
    found = simulated["failure"]["code"]
    require(found == code, f"The twin should fail with {code}, not with {found}: {simulated['failure']['sentence']}")
    await client.send(bundle)
    try:
        await bundle.wait("decided")
    except BundleDropped as dropped:
        require(dropped.code == "bundle_expired", f"The twin was dropped for another reason: {dropped.message}")
        status = await bundle.status()
        assert status is not None
        why = explain_failure(status["dropped"])
        say(f"The network tried it {status['failedTrials']} times and dropped it at its deadline: {why}.")
    else:
        raise DemoFailure("The failing twin took place.")
    footprint.next_blocks()
    footprint.require_no_trace(before)


def positions(sealed: dict[str, Any]) -> str:
    """Where a sealed bundle is."""
    blocks = " and ".join(f"block {leg['blockNumber']} of {leg['rollupId']}" for leg in sealed["legs"])
    return f"One decision for both: height {sealed['height']}, sealed in {blocks}."
