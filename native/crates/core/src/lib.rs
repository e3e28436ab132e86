//! # plait-core
//! Execution of OP Stack rollups for Plait: transactions in, blocks bit-exact with op-geth v1.101702.3 out. Pure Rust, no policy.
//!
//! | module | holds |
//! |---|---|
//! | [`transaction`] | strict decoding and sender recovery of user transactions |
//! | [`recovery`], [`ed25519`] | the memory of recovered senders; the signatures of validators |
//! | [`chain`], [`genesis`] | a rollup's rules; op-geth's genesis format |
//! | [`overlay`], [`codes`] | changes over an immutable state with an undo log; contract codes |
//! | [`block`], [`execute`], [`seal`] | growing blocks, running transactions, headers |
//! | [`session`], [`rollup`], [`snapshot`] | candidate continuations; the decided rollup with its history and store; its file |
//! | [`history`] | what another node needs to take a rollup over: blocks and state, and the checks of them |
//! | [`reads`], [`fees`], [`json`], [`records`] | what JSON-RPC answers; fee parameters and history; how blocks lie in the store |
//! | [`calls`], [`estimate`], [`trace`] | calls that change nothing, gas estimates and access lists, tracers |
//! | [`logs`] | one log by its place, for interop messages |
//! | [`overrides`], [`halts`], [`gauge`] | state and block overrides of calls; op-geth's words for failures; the bound of traces |
//!
//! Invariant of the whole: everything is a pure function of genesis, attributes and transactions; no clock, randomness or float.

pub mod ancestors;
pub mod block;
pub mod calls;
pub mod chain;
pub mod codes;
pub mod ed25519;
pub mod error;
pub mod estimate;
pub mod execute;
pub mod fees;
pub mod gauge;
pub mod genesis;
pub mod halts;
pub mod history;
pub mod json;
pub mod logs;
pub mod merkle;
pub mod moment;
pub mod overlay;
pub mod overrides;
pub mod reads;
pub mod records;
pub mod recovery;
pub mod remote;
pub mod rollup;
pub mod seal;
pub mod session;
pub mod snapshot;
pub mod trace;
pub mod transaction;
pub mod undo;
pub mod unwind;

pub use plait_state::{AccountInfo, Store};
