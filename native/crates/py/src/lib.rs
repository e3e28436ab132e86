//! The Python face of `plait-core`. The contract is `plait/native/_core.pyi`; nothing here decides anything.
//!
//! Conventions: bytes in, bytes and small integers out; every call that may take more than a few microseconds runs detached from
//! the interpreter; a panic becomes `NativeError` with code `internal`, never a crash of the process.

mod calls;
mod convert;
mod reads;
mod records;
mod remote;
mod rollup;
mod session;
mod transactions;

use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The module `plait.native._core`.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("PENDING", plait_core::rollup::PENDING)?;
    module.add("SHARED_UNDO_BLOCKS", plait_core::history::SHARED_UNDO_BLOCKS)?;
    module.add("NativeError", module.py().get_type::<convert::NativeError>())?;
    module.add_class::<transactions::Transaction>()?;
    module.add_class::<transactions::Refusal>()?;
    module.add_class::<records::Attributes>()?;
    module.add_class::<records::OpenBlock>()?;
    module.add_class::<records::SealedBlock>()?;
    module.add_class::<records::Outcomes>()?;
    module.add_class::<records::CallResult>()?;
    module.add_class::<session::Session>()?;
    module.add_class::<rollup::Store>()?;
    module.add_class::<rollup::Rollup>()?;
    module.add_class::<rollup::FrozenRollup>()?;
    module.add_function(wrap_pyfunction!(transactions::decode_transactions, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::recovery_statistics, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::recovery_forget, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::ed25519_sign, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::ed25519_public_key, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::recover_signer, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::ed25519_verify, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::ed25519_verify_many, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::sign_digest, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::declaring, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::keccak256, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::keccak256_many, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::merkle_root, module)?)?;
    module.add_function(wrap_pyfunction!(transactions::ordered_trie_root, module)?)?;
    module.add_function(wrap_pyfunction!(session::run_many, module)?)?;
    module.add_function(wrap_pyfunction!(session::advance_many, module)?)?;
    Ok(())
}
