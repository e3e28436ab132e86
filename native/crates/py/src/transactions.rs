//! Decoding, signatures and hashing.

use std::sync::Arc;

use alloy_consensus::{Transaction as _, Typed2718};
use alloy_primitives::{Address, B256, U256};
use plait_core::transaction as core;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList};
use rayon::prelude::*;

use crate::convert::{address, detached, int, word};

/// One signed, decoded user transaction with its recovered sender. Immutable.
#[pyclass(frozen, module = "plait.native._core")]
pub struct Transaction(pub Arc<core::Transaction>);

#[pymethods]
impl Transaction {
    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.raw)
    }
    #[getter]
    fn hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.hash.as_slice())
    }
    #[getter]
    fn sender<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.sender.as_slice())
    }
    #[getter]
    fn r#type(&self) -> u8 {
        self.0.envelope.ty()
    }
    #[getter]
    fn nonce(&self) -> u64 {
        self.0.envelope.nonce()
    }
    #[getter]
    fn gas_limit(&self) -> u64 {
        self.0.envelope.gas_limit()
    }
    #[getter]
    fn max_fee_per_gas(&self) -> u128 {
        self.0.envelope.max_fee_per_gas()
    }
    #[getter]
    fn max_priority_fee_per_gas(&self) -> u128 {
        let envelope = &self.0.envelope;
        envelope.max_priority_fee_per_gas().unwrap_or_else(|| envelope.max_fee_per_gas())
    }
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        int(py, self.0.envelope.value())
    }
    #[getter]
    fn to<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.envelope.to().map(|to| PyBytes::new(py, to.as_slice()))
    }
    #[getter]
    fn input_bytes(&self) -> usize {
        self.0.envelope.input().len()
    }
    #[getter]
    fn input<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.envelope.input())
    }
    #[getter]
    fn size(&self) -> usize {
        self.0.raw.len()
    }
    #[getter]
    fn da_size(&self) -> u64 {
        self.0.da_size
    }
    #[getter]
    fn intrinsic_gas(&self) -> u64 {
        self.0.intrinsic_gas
    }
    fn effective_priority_fee(&self, base_fee: u128) -> Option<u128> {
        self.0.effective_priority_fee(base_fee)
    }
    fn max_cost<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.0.max_cost() {
            (cost, false) => int(py, cost),
            (low, true) => int(py, U256::MAX)?.add(1)?.add(int(py, low)?),
        }
    }
    fn access_list_keys<'py>(&self, py: Python<'py>, address: &[u8]) -> PyResult<Bound<'py, PyList>> {
        let keys = self.0.access_list_keys(self::address(address)?).map(|key| PyBytes::new(py, key.as_slice()));
        PyList::new(py, keys.collect::<Vec<_>>())
    }
    fn __eq__(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
    fn __hash__(&self) -> u64 {
        u64::from_be_bytes(self.0.hash[..8].try_into().expect("a hash has 32 bytes"))
    }
    fn __repr__(&self) -> String {
        format!("<Transaction {} from {} nonce {}>", self.0.hash, self.0.sender, self.0.envelope.nonce())
    }
}

/// Why raw bytes are not an acceptable user transaction.
#[pyclass(frozen, get_all, module = "plait.native._core")]
pub struct Refusal {
    code: &'static str,
    message: String,
}

#[pymethods]
impl Refusal {
    fn __repr__(&self) -> String {
        format!("<Refusal {}: {}>", self.code, self.message)
    }
}

/// Decodes and recovers senders in parallel.
#[pyfunction]
#[pyo3(signature = (raws, chain_id, *, size_max = 131_072, senders = None, unprotected = false))]
pub fn decode_transactions<'py>(
    py: Python<'py>,
    raws: Vec<PyBackedBytes>,
    chain_id: u64,
    size_max: usize,
    senders: Option<PyBackedBytes>,
    unprotected: bool,
) -> PyResult<Bound<'py, PyList>> {
    let senders: Option<Vec<Address>> = match senders {
        None => None,
        Some(packed) if packed.len() == 20 * raws.len() => Some(packed.chunks(20).map(Address::from_slice).collect()),
        Some(packed) => {
            let message =
                format!("senders must hold 20 bytes for each of {} transactions, not {}", raws.len(), packed.len());
            return Err(PyValueError::new_err(message));
        }
    };
    let decode = || Ok(core::decode_transactions(&raws, chain_id, size_max, senders.as_deref(), unprotected));
    let decoded = detached(py, decode)?;
    let list = PyList::empty(py);
    for item in decoded {
        match item {
            Ok(transaction) => list.append(Transaction(transaction))?,
            Err(core::Refusal { code, message }) => list.append(Refusal { code, message })?,
        }
    }
    Ok(list)
}

/// Forgets every remembered sender; for measurements, which have to begin alike.
#[pyfunction]
pub fn recovery_forget() {
    plait_core::recovery::SENDERS.forget();
}

/// Counters of the memory of recovered senders.
#[pyfunction]
pub fn recovery_statistics(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let statistics = plait_core::recovery::SENDERS.statistics();
    let counters = PyDict::new(py);
    counters.set_item("recovered", statistics.recovered)?;
    counters.set_item("remembered", statistics.remembered)?;
    counters.set_item("entries", statistics.entries)?;
    counters.set_item("entries_max", statistics.entries_max)?;
    Ok(counters)
}

/// Whether an ed25519 signature is valid by the rules of ZIP-215.
#[pyfunction]
pub fn ed25519_verify(py: Python<'_>, public_key: &[u8], message: &[u8], signature: &[u8]) -> PyResult<bool> {
    detached(py, || Ok(plait_core::ed25519::verify(public_key, message, signature)))
}

/// `ed25519_verify` of each, in parallel.
#[pyfunction]
pub fn ed25519_verify_many(
    py: Python<'_>,
    signed: Vec<(PyBackedBytes, PyBackedBytes, PyBackedBytes)>,
) -> PyResult<Vec<bool>> {
    detached(py, || Ok(plait_core::ed25519::verify_many(&signed)))
}

/// Signature by the key of a seed.
#[pyfunction]
pub fn ed25519_sign<'py>(py: Python<'py>, seed: &[u8], message: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let (_, signature) = plait_core::ed25519::sign(word(seed)?.0, message);
    Ok(PyBytes::new(py, &signature))
}

/// Public key of a seed.
#[pyfunction]
pub fn ed25519_public_key<'py>(py: Python<'py>, seed: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let (public_key, _) = plait_core::ed25519::sign(word(seed)?.0, &[]);
    Ok(PyBytes::new(py, &public_key))
}

/// Address that signed a digest, or None.
#[pyfunction]
pub fn recover_signer<'py>(py: Python<'py>, digest: &[u8], signature: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let signer = core::signer_of(word(digest)?, signature);
    Ok(signer.map(|address| PyBytes::new(py, address.as_slice())))
}

/// r, s, v of a deterministic signature over a digest.
#[pyfunction]
pub fn sign_digest<'py>(py: Python<'py>, private_key: &[u8], digest: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    // The messages never hold what was given: it may be a key.
    let refused = || PyValueError::new_err("a private key is 32 bytes, above zero and below the order of secp256k1");
    let key = B256::try_from(private_key).map_err(|_| refused())?;
    let digest = word(digest)?;
    let signature = detached(py, || Ok(core::sign_digest(key, digest)))?.ok_or_else(refused)?;
    Ok(PyBytes::new(py, &signature))
}

/// Positions of the transactions whose access list names the address.
#[pyfunction]
pub fn declaring(transactions: Vec<Bound<'_, Transaction>>, address: &[u8]) -> PyResult<Vec<usize>> {
    let address = self::address(address)?;
    let named = transactions.iter().enumerate().filter(|(_, transaction)| transaction.get().0.declares(address));
    Ok(named.map(|(position, _)| position).collect())
}

/// keccak-256 of the data.
#[pyfunction]
pub fn keccak256<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, alloy_primitives::keccak256(data).as_slice())
}

/// keccak-256 of each item.
#[pyfunction]
pub fn keccak256_many<'py>(py: Python<'py>, items: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyList>> {
    let hashes: Vec<_> = py.detach(|| items.par_iter().with_min_len(256).map(alloy_primitives::keccak256).collect());
    PyList::new(py, hashes.iter().map(|hash| PyBytes::new(py, hash.as_slice())))
}

/// Root of the trie that maps the RLP of each position to the value there, as blocks commit to transactions and receipts.
#[pyfunction]
pub fn ordered_trie_root<'py>(py: Python<'py>, values: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyBytes>> {
    let root = detached(py, || Ok(plait_core::seal::ordered_root(&values)))?;
    Ok(PyBytes::new(py, root.as_slice()))
}

/// RFC 6962 tree hash (SHA-256) over the items.
#[pyfunction]
pub fn merkle_root<'py>(py: Python<'py>, items: Vec<PyBackedBytes>) -> Bound<'py, PyBytes> {
    let root = py.detach(|| plait_core::merkle::merkle_root(&items));
    PyBytes::new(py, &root)
}
