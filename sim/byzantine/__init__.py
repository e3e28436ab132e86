"""Byzantine proposers, one kind of lie per file. Each makes a forgery out of an honest proposal for the same height."""

from plait.engines.simulated import Forger


def all_forgers() -> tuple[Forger, ...]:
    """Every byzantine proposer, in a fixed order."""
    from sim.byzantine import (
        actions,
        bundles,
        censoring,
        doubled,
        failing_transaction,
        garbage,
        messages,
        misled,
        oversized,
        reordered,
        sealing,
        stamps,
        wrong_header,
        wrong_root,
    )

    return (
        garbage.forge,
        wrong_header.forge,
        wrong_root.forge,
        reordered.forge,
        failing_transaction.forge,
        doubled.forge,
        stamps.forge,
        oversized.forge,
        sealing.forge,
        censoring.forge,
        bundles.forge,
        messages.forge,
        actions.forge,
        misled.forge,
    )
