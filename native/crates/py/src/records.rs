//! Records that cross the boundary: attributes in; blocks, outcomes and call results out. All immutable.

use std::sync::Arc;

use alloy_primitives::{Bytes, B256};
use alloy_rlp::Encodable;
use plait_core::{block, calls, execute};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};

use crate::convert;

/// What opens a block.
#[pyclass(frozen, module = "plait.native._core")]
pub struct Attributes(pub Arc<block::Attributes>);

#[pymethods]
impl Attributes {
    #[new]
    #[pyo3(signature = (*, timestamp, prev_randao, fee_recipient, parent_beacon_block_root, gas_limit, deposits,
                        eip1559_denominator, eip1559_elasticity, min_base_fee))]
    #[allow(clippy::too_many_arguments)] // the constructor mirrors the payload attributes
    fn new(
        timestamp: u64,
        prev_randao: &[u8],
        fee_recipient: &[u8],
        parent_beacon_block_root: &[u8],
        gas_limit: u64,
        deposits: Vec<PyBackedBytes>,
        eip1559_denominator: u64,
        eip1559_elasticity: u64,
        min_base_fee: u64,
    ) -> PyResult<Self> {
        Ok(Self(Arc::new(block::Attributes {
            timestamp,
            prev_randao: convert::word(prev_randao)?,
            fee_recipient: convert::address(fee_recipient)?,
            parent_beacon_block_root: convert::word(parent_beacon_block_root)?,
            gas_limit,
            deposits: deposits.iter().map(|raw| Bytes::copy_from_slice(raw)).collect(),
            eip1559_denominator,
            eip1559_elasticity,
            min_base_fee,
        })))
    }
}

/// Facts of the open block.
#[pyclass(frozen, get_all, module = "plait.native._core")]
pub struct OpenBlock {
    number: u64,
    timestamp: u64,
    parent_hash: Py<PyBytes>,
    base_fee: u64,
    gas_limit: u64,
    gas_used: u64,
    da_footprint: u64,
    da_footprint_scalar: u64,
    transaction_count: usize,
    deposit_count: usize,
    log_count: u64,
}

impl OpenBlock {
    /// The Python record of an open block.
    pub fn new(py: Python<'_>, block: &block::OpenBlock) -> Self {
        Self {
            number: block.number,
            timestamp: block.attributes.timestamp,
            parent_hash: hash(py, block.parent_hash),
            base_fee: block.base_fee,
            gas_limit: block.attributes.gas_limit,
            gas_used: block.gas_used,
            da_footprint: block.da_footprint,
            da_footprint_scalar: block.da_footprint_scalar,
            transaction_count: block.transaction_count,
            deposit_count: block.deposit_count,
            log_count: block.log_count,
        }
    }
}

/// A sealed block's facts.
#[pyclass(frozen, get_all, module = "plait.native._core")]
pub struct SealedBlock {
    number: u64,
    hash: Py<PyBytes>,
    parent_hash: Py<PyBytes>,
    timestamp: u64,
    state_root: Py<PyBytes>,
    transactions_root: Py<PyBytes>,
    receipts_root: Py<PyBytes>,
    withdrawals_root: Py<PyBytes>,
    gas_used: u64,
    da_footprint: u64,
    base_fee: u64,
    transaction_count: usize,
    header_rlp: Py<PyBytes>,
}

impl SealedBlock {
    /// The Python record of a sealed block; `transaction_count` is known to the caller when the content is not at hand.
    pub fn new(py: Python<'_>, sealed: &block::Sealed, transaction_count: usize) -> Self {
        let header = &sealed.header;
        let mut rlp = Vec::with_capacity(700);
        header.encode(&mut rlp);
        Self {
            number: header.number,
            hash: hash(py, sealed.hash),
            parent_hash: hash(py, header.parent_hash),
            timestamp: header.timestamp,
            state_root: hash(py, header.state_root),
            transactions_root: hash(py, header.transactions_root),
            receipts_root: hash(py, header.receipts_root),
            withdrawals_root: hash(py, header.withdrawals_root.unwrap_or_default()),
            gas_used: header.gas_used,
            da_footprint: header.blob_gas_used.unwrap_or_default(),
            base_fee: header.base_fee_per_gas.unwrap_or_default(),
            transaction_count,
            header_rlp: PyBytes::new(py, &rlp).unbind(),
        }
    }

    /// The record of a block that still has its content.
    pub fn with_content(py: Python<'_>, sealed: &block::Sealed) -> Self {
        Self::new(py, sealed, sealed.body.as_ref().map_or(0, |body| body.items.len()))
    }
}

fn hash(py: Python<'_>, value: B256) -> Py<PyBytes> {
    PyBytes::new(py, value.as_slice()).unbind()
}

/// Results of one run.
#[pyclass(frozen, module = "plait.native._core")]
pub struct Outcomes(pub execute::Outcomes);

impl Outcomes {
    fn item(&self, index: usize) -> PyResult<&execute::Outcome> {
        let count = self.0.items.len();
        self.0.items.get(index).ok_or_else(|| PyIndexError::new_err(format!("outcome {index} of {count}")))
    }
}

#[pymethods]
impl Outcomes {
    fn __len__(&self) -> usize {
        self.0.items.len()
    }
    #[getter]
    fn statuses<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let statuses: Vec<u8> = self.0.items.iter().map(|item| item.status).collect();
        PyBytes::new(py, &statuses)
    }
    #[getter]
    fn gas_used(&self) -> u64 {
        self.0.gas_used
    }
    #[getter]
    fn da_footprint(&self) -> u64 {
        self.0.da_footprint
    }
    #[getter]
    fn first_log_index(&self) -> u64 {
        self.0.first_log_index
    }
    fn logs_of<'py>(&self, py: Python<'py>, addresses: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyList>> {
        let addresses = addresses.iter().map(|bytes| convert::address(bytes)).collect::<PyResult<Vec<_>>>()?;
        let found: Vec<_> = py.detach(|| self.0.logs_of(&addresses).collect());
        let items = found.into_iter().map(|(position, index, log)| {
            let (address, topics, data) = convert::log_fields(py, log)?;
            (position, index, address, topics, data).into_pyobject(py)
        });
        PyList::new(py, items.collect::<PyResult<Vec<_>>>()?)
    }
    #[getter]
    fn included(&self) -> usize {
        self.0.included
    }
    fn transaction_gas_used(&self, index: usize) -> PyResult<u64> {
        Ok(self.item(index)?.gas_used)
    }
    fn output<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.item(index)?.output))
    }
    fn failure(&self, index: usize) -> PyResult<Option<(&'static str, String)>> {
        Ok(self.item(index)?.failure.as_ref().map(|failure| (failure.code, failure.message.clone())))
    }
    fn logs<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyList>> {
        convert::logs(py, &self.item(index)?.logs)
    }
}

/// Result of a call that changes nothing.
#[pyclass(frozen, get_all, module = "plait.native._core")]
pub struct CallResult {
    /// True when the call returned.
    pub success: bool,
    /// Gas used.
    pub gas_used: u64,
    /// Return or revert data.
    pub output: Py<PyBytes>,
    /// go-ethereum's words for the failure.
    pub error: Option<String>,
}

impl CallResult {
    /// The Python record of a call's result.
    pub fn new(py: Python<'_>, result: calls::CallResult) -> Self {
        Self {
            success: result.success,
            gas_used: result.gas_used,
            output: PyBytes::new(py, &result.output).unbind(),
            error: result.error,
        }
    }
}
