"""The scenario list: every id with its event in our words, the ids that other tests play with parts that this suite
does not have, and the ids that nothing plays, each with why.

`test_ids.py` holds this table to the suite: every id is a test (`test_<group><two digits>_...`), names a test
elsewhere, or has a reason here, and only one of these.
"""

from __future__ import annotations

from typing import Final

GROUPS: Final = {
    "A": "what works",
    "B": "execution fails",
    "C": "races",
    "D": "messages",
    "E": "coordinator and consensus",
    "F": "a rollup's side",
    "G": "data availability and settlement",
    "H": "adversaries and economics",
}

EVENTS: Final = {
    "A1": "two legs, no messages",
    "A2": "a message from A to B",
    "A3": "B's answer is used in a second call on B",
    "A4": "one rollup reaches several others",
    "A5": "ping-pong of depth 2, 3, 5, 10",
    "A6": "a call back while the caller waits",
    "A7": "the same call twice in one bundle",
    "A8": "two different targets",
    "A9": "a second call that depends on the first answer",
    "A10": "a flash loan over rollups",
    "A11": "burn here, mint there",
    "A12": "sponsored legs of accounts without ether",
    "A13": "a leg of several transactions",
    "A14": "bundles of both directions in one block",
    "A15": "local transactions and bundles of one account",
    "B1": "a leg reverts",
    "B2": "a leg runs out of gas",
    "B3": "a sender cannot pay on one rollup",
    "B4": "the first rollup's last check fails after the others succeeded",
    "B5": "the application catches the failure of the other rollup",
    "B6": "a call that succeeded is undone by its caller",
    "B7": "an entry of a prepared tape is not used",
    "B8": "reentrance",
    "B9": "the target is created or destroyed meanwhile",
    "B10": "another rollup is only read",
    "B11": "ether moves, and its sum is checked",
    "B12": "the sender can tell why a call did not happen",
    "C1": "the nonce was used by a local transaction",
    "C2": "the base fee rose above the cap",
    "C3": "a price was moved by an earlier transaction",
    "C4": "fifty bundles on one hot exchange",
    "C5": "random conflicts of 0, 25, 50, 90 %",
    "C6": "one sender in two bundles",
    "C7": "code takes another path in the block than in the simulation",
    "C8": "an earlier transaction shifts the position of a log",
    "C9": "code that depends on time, block number, gas price",
    "C10": "one rollup's block is full",
    "C11": "different block times",
    "C12": "the access list is missing or wrong",
    "C13": "the deadline passes",
    "D1": "what is read never arrives",
    "D2": "what is sent is never read",
    "D3": "messages are delivered out of order",
    "D4": "they are read in another order than written",
    "D5": "a delivered message is delivered again",
    "D6": "one header twice",
    "D7": "tampered data",
    "D8": "wrong receiver, chain, or a number above 64 bits",
    "D9": "zero fields as wildcards",
    "D10": "a message before its session began",
    "D11": "self-reference, unknown chain, log index out of range",
    "D12": "cycles, and mutual dependence that is none",
    "D13": "circular causation between two sales",
    "D14": "expired, of the activation block, from the future",
    "D15": "an alternating chain of depth ten",
    "E1": "the proposer crashes before the decision",
    "E2": "it crashes after the decision, before any leg is delivered",
    "E3": "it crashes between two legs",
    "E4": "restart from the write-ahead log",
    "E5": "a proposer signs two results",
    "E6": "a proposer includes a bundle that fails",
    "E7": "less than a third lies about simulations",
    "E8": "the network is cut during a vote",
    "E9": "votes that are late, double, or of no member",
    "E10": "decided yes without the own vote",
    "E11": "a timer races with votes",
    "E12": "a validator without a rollup's state checks by witness",
    "E13": "the round changes and with it the state below",
    "E14": "a confirmed bundle is dropped",
    "F1": "one rollup's executor is down",
    "F2": "a simulation is slow",
    "F3": "L1 is reorganised",
    "F4": "one rollup is reorganised",
    "F5": "dependants of an invalid message, and messages that were swapped",
    "F6": "an executor ignores the order",
    "F7": "a builder falls back to its own block",
    "F8": "a rollup leaves the set while messages are on their way",
    "F9": "solo mode and coming back",
    "F10": "a replacement by deposits only",
    "F11": "a forced transaction spoils a confirmed leg",
    "G1": "one leg's data is withheld",
    "G2": "one blob is posted, the other is missing at the deadline",
    "G3": "one rollup's prover is late",
    "G4": "an accumulator is wrong",
    "G5": "a fault proof for a wrong leg, and for a right one",
    "G6": "how far a rollback may reach",
    "G7": "a batch ends within a bundle",
    "H1": "a flood of bundles that always fail",
    "H2": "holding locks to do harm",
    "H3": "a builder orders so that a bundle fails",
    "H4": "taking a bundle apart, showing one leg",
    "H5": "an encrypted bundle of which one leg decrypts late or not at all",
    "H6": "ping-pong without end",
    "H7": "reads that cost much",
    "H8": "draining a sponsor",
    "H9": "a trade between two legs",
    "H10": "fees for included work only",
}

_SEEDS: Final = "tests/simulation/test_network_seeds.py::test_networks_keep_every_promise"

ELSEWHERE: Final = {
    "E3": "tests/integration/crash/test_kills_with_bundles.py"
    "::test_no_kill_leaves_half_a_bundle_or_takes_a_decided_one_back",
    "E5": "tests/integration/abci/test_punished_validators.py"
    "::test_two_proposals_for_one_round_are_found_in_a_consensus_log_and_slashed",
    "E7": _SEEDS,
    "E8": "tests/e2e/network/test_kills_and_partitions.py"
    "::test_nothing_decided_is_lost_by_kills_restarts_and_partitions",
    "E9": _SEEDS,
    "E10": "tests/integration/abci/test_four_validators.py::test_a_node_that_was_away_catches_up_and_votes_again",
    "E11": _SEEDS,
    "E14": "tests/unit/node/test_unwinding.py::test_transactions_wait_again_and_a_bundle_is_dropped_whole",
    "F1": "tests/integration/engine/test_driver.py"
    "::test_an_engine_that_was_killed_stopped_or_lost_its_data_comes_back_to_our_head",
    "F2": "tests/integration/faces/test_boost.py::test_a_block_that_comes_too_late_is_not_waited_for",
    "F3": "tests/unit/protocol/test_l1.py"
    "::test_a_reorganised_l1_takes_every_rollup_back_to_one_slot_and_names_what_was_lost",
    "F4": "tests/unit/protocol/test_l1.py::test_a_block_that_l1_derives_otherwise_is_replaced_and_nothing_safe_with_it",
    "F6": "tests/integration/engine/test_driver.py::test_a_different_hash_stops_this_rollup_with_evidence_and_no_other",
    "F7": "tests/integration/faces/test_boost.py::test_when_one_half_cannot_be_answered_neither_is",
    "F8": "tests/unit/protocol/test_departing_rollups.py"
    "::test_at_the_slot_and_after_it_nothing_of_the_rollup_is_proposed",
    "F9": "tests/integration/engine/test_add_and_run.py::test_a_chain_joins_a_network_and_leaves_it_again",
    "F10": "tests/property/derivation/test_pipeline.py"
    "::test_a_block_with_an_inapplicable_transaction_holds_its_deposits_only_and_the_rest_of_its_channel_is_lost",
    "G1": "tests/integration/l1/test_blobs.py::test_a_blob_that_nobody_has_is_named",
    "G2": "tests/integration/batcher/test_settlement.py"
    "::test_an_expired_sequencing_window_is_a_conflict_with_the_derived_hash",
    "G7": "tests/unit/batcher/test_planning.py::test_rollups_of_different_block_times_are_posted_up_to_one_time",
}
"""Ids that need a network of processes, an engine or an L1, and the test with those parts that plays each."""

NOT_PLAYED: Final = {
    "E12": "every validator has the state of every rollup: waits for partial validators",
    "F5": "an invalid message is never ordered, and what L1 takes back goes back to one slot on every rollup (F3, F4)",
    "G3": "there are no provers: waits for proofs of settlement",
    "G4": "there are no accumulators: waits for proofs of settlement",
    "G5": "there are no fault proofs of our own: waits for proofs of settlement",
    "H5": "bundles are not encrypted: waits for encrypted admission",
}
