"""The batcher: sealed blocks of all OP Stack rollups go to L1 together, once each and in order. Level 5.

    blocks      what a sealed block puts into a batch
    plan        which blocks go next (pure)
    channels    blocks to channels, and channels of several rollups to L1 transactions (pure)
    l1_transactions, sidecars   the bytes of those transactions, blobs with their proofs
    kzg, kzg_worker   commitments and proofs of blobs, computed in another process
    inbox, follower   what L1 holds, and how far a rollup is posted, safe and final by it
    journal     what was signed under which nonce, on disk before it is sent
    l1_sender   sends, bumps fees, sends again what was dropped or reorganised away
    costs       what each rollup's data cost
    throttle    how much data a new block may hold while much is waiting (pure)
    service     the task that ties them together

Invariants
    1. A nonce, once its content is in the journal, never gets other content: what follows it on L1 stays in order.
    2. A block is never skipped: the cursor of a rollup moves over a range only when the range is in the journal.
    3. Posting twice is harmless (derivation drops batches of the past), so every doubt is resolved by posting again.
Source: OP Stack specs, batch submission; docs/opstack/batcher.md.
"""
