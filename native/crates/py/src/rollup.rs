//! Stores and rollups.

use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::Bytes;
use plait_core::ancestors::RawBlock;
use plait_core::error::CoreError;
use plait_core::history::Given;
use plait_core::reads;
use plait_core::remote::Known;
use plait_core::rollup as core;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList};

use crate::convert::{address, detached, word};
use crate::records::{Attributes, OpenBlock, SealedBlock};
use crate::remote::PythonReader;
use crate::session::{account_list, Session};

/// Blocks, receipts and indexes of all rollups of a node.
#[pyclass(frozen, module = "plait.native._core")]
pub struct Store(pub plait_core::Store);

#[pymethods]
impl Store {
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        detached(py, || core::open_store(&path).map(Self))
    }
    #[staticmethod]
    fn in_memory(py: Python<'_>) -> PyResult<Self> {
        detached(py, || Ok(Self(plait_core::Store::in_memory())))
    }
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || Ok(self.0.sync()?))
    }
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || Ok(self.0.close()?))
    }
    fn head_number(&self, py: Python<'_>, chain_id: u64) -> PyResult<Option<u64>> {
        detached(py, || Ok(self.0.head_number(chain_id)?))
    }
    fn remove_above(&self, py: Python<'_>, chain_id: u64, number: u64) -> PyResult<u64> {
        detached(py, || Ok(self.0.remove_above(chain_id, number)?))
    }
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let statistics = detached(py, || Ok(self.0.statistics()?))?;
        let dict = PyDict::new(py);
        dict.set_item("disk_bytes", statistics.disk_bytes)?;
        dict.set_item("write_buffer_bytes", statistics.write_buffer_bytes)?;
        Ok(dict)
    }
}

/// A rollup's decided state at one moment.
#[pyclass(frozen, module = "plait.native._core")]
pub struct FrozenRollup {
    rollup: Arc<core::Rollup>,
    decided: Arc<core::Decided>,
}

#[pymethods]
impl FrozenRollup {
    #[getter]
    fn head_number(&self) -> u64 {
        self.decided.view.head.header.number
    }
    #[getter]
    fn head_hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.decided.view.head.hash.as_slice())
    }
    fn open_transactions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let raws = detached(py, || Ok(self.decided.open_transactions()))?;
        PyList::new(py, raws.iter().map(|raw| PyBytes::new(py, raw)))
    }
    fn write_snapshot(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        detached(py, || self.rollup.write_snapshot_of(&self.decided, &path))
    }
    fn write_state(&self, py: Python<'_>, path: PathBuf) -> PyResult<u64> {
        detached(py, || self.rollup.write_state(&self.decided, &path))
    }
    fn write_blocks(&self, py: Python<'_>, path: PathBuf, highest: u64, lowest: u64) -> PyResult<u64> {
        detached(py, || self.rollup.write_blocks(&self.decided, &path, highest, lowest))
    }
}

/// What is known of a remote state before anybody is asked.
fn known(nodes: &[PyBackedBytes], codes: &[PyBackedBytes], headers: &[PyBackedBytes]) -> Known {
    let bytes = |all: &[PyBackedBytes]| all.iter().map(|one| Bytes::copy_from_slice(one)).collect();
    Known { nodes: bytes(nodes), codes: bytes(codes), headers: bytes(headers) }
}

impl Rollup {
    fn shared(rollup: core::Rollup, undo_blocks: u64) -> Self {
        Self(Arc::new(rollup.keeping(undo_blocks)))
    }
}

/// Number, RLP and receipts of a block that left the chain.
type ReplacedBlock<'py> = (u64, Bound<'py, PyBytes>, Bound<'py, PyList>);

/// A rollup: decided state, history and store.
#[pyclass(frozen, module = "plait.native._core")]
pub struct Rollup(pub Arc<core::Rollup>);

#[pymethods]
impl Rollup {
    #[staticmethod]
    #[pyo3(signature = (genesis_json, store, *, undo_blocks = 0))]
    fn from_genesis(py: Python<'_>, genesis_json: &[u8], store: &Bound<'_, Store>, undo_blocks: u64) -> PyResult<Self> {
        let store = store.get().0.clone();
        let rollup = detached(py, || core::Rollup::from_genesis(genesis_json, store))?;
        Ok(Self::shared(rollup, undo_blocks))
    }
    #[staticmethod]
    #[pyo3(signature = (genesis_json, store, path, *, undo_blocks = 0))]
    fn from_snapshot(
        py: Python<'_>,
        genesis_json: &[u8],
        store: &Bound<'_, Store>,
        path: PathBuf,
        undo_blocks: u64,
    ) -> PyResult<Self> {
        let store = store.get().0.clone();
        let rollup = detached(py, || core::Rollup::from_snapshot(genesis_json, store, &path))?;
        Ok(Self::shared(rollup, undo_blocks))
    }
    fn write_snapshot(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        detached(py, || self.0.write_snapshot(&path))
    }
    #[staticmethod]
    #[pyo3(signature = (genesis_json, store, *, state, blocks, head_number, head_hash, lowest, attributes, transactions,
                        undo_blocks = 0))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of a record used once
    fn take_over(
        py: Python<'_>,
        genesis_json: &[u8],
        store: &Bound<'_, Store>,
        state: PathBuf,
        blocks: Vec<PathBuf>,
        head_number: u64,
        head_hash: &[u8],
        lowest: u64,
        attributes: Option<&Bound<'_, Attributes>>,
        transactions: Vec<PyBackedBytes>,
        undo_blocks: u64,
    ) -> PyResult<Self> {
        let store = store.get().0.clone();
        let head_hash = word(head_hash)?;
        let raws = transactions.iter().map(|raw| Bytes::copy_from_slice(raw)).collect();
        let open = attributes.map(|attributes| ((*attributes.get().0).clone(), raws));
        let given = Given { state: &state, blocks: &blocks, head_number, head_hash, lowest, open };
        let rollup = detached(py, || core::Rollup::take_over(genesis_json, store, given))?;
        Ok(Self::shared(rollup, undo_blocks))
    }
    #[staticmethod]
    #[pyo3(signature = (genesis_json, store, anchor, reader, *, genesis_hash, undo_blocks = 0, known_nodes = Vec::new(),
                        known_codes = Vec::new(), known_headers = Vec::new()))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of a record used once
    fn remote(
        py: Python<'_>,
        genesis_json: &[u8],
        store: &Bound<'_, Store>,
        anchor: &[u8],
        reader: Py<PyAny>,
        genesis_hash: &[u8],
        undo_blocks: u64,
        known_nodes: Vec<PyBackedBytes>,
        known_codes: Vec<PyBackedBytes>,
        known_headers: Vec<PyBackedBytes>,
    ) -> PyResult<Self> {
        let (store, genesis_hash) = (store.get().0.clone(), word(genesis_hash)?);
        let reader = Box::new(PythonReader(reader));
        let known = known(&known_nodes, &known_codes, &known_headers);
        let rollup = detached(py, || core::Rollup::remote(genesis_json, store, anchor, reader, genesis_hash, known))?;
        Ok(Self::shared(rollup, undo_blocks))
    }
    #[staticmethod]
    #[pyo3(signature = (genesis_json, store, path, reader, *, genesis_hash, undo_blocks = 0, known_nodes = Vec::new(),
                        known_codes = Vec::new(), known_headers = Vec::new()))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of a record used once
    fn remote_from_snapshot(
        py: Python<'_>,
        genesis_json: &[u8],
        store: &Bound<'_, Store>,
        path: PathBuf,
        reader: Py<PyAny>,
        genesis_hash: &[u8],
        undo_blocks: u64,
        known_nodes: Vec<PyBackedBytes>,
        known_codes: Vec<PyBackedBytes>,
        known_headers: Vec<PyBackedBytes>,
    ) -> PyResult<Self> {
        let (store, genesis_hash) = (store.get().0.clone(), word(genesis_hash)?);
        let reader = Box::new(PythonReader(reader));
        let known = known(&known_nodes, &known_codes, &known_headers);
        let load = || core::Rollup::remote_from_snapshot(genesis_json, store, &path, reader, genesis_hash, known);
        Ok(Self::shared(detached(py, load)?, undo_blocks))
    }
    fn put_ancestors(
        &self,
        py: Python<'_>,
        blocks: Vec<(PyBackedBytes, Vec<PyBackedBytes>, Vec<PyBackedBytes>)>,
    ) -> PyResult<()> {
        let bytes = |all: &[PyBackedBytes]| all.iter().map(|one| Bytes::copy_from_slice(one)).collect();
        let raw = |(header, transactions, receipts): &(PyBackedBytes, Vec<_>, Vec<_>)| RawBlock {
            header: Bytes::copy_from_slice(header),
            transactions: bytes(transactions),
            receipts: bytes(receipts),
        };
        let blocks: Vec<RawBlock> = blocks.iter().map(raw).collect();
        detached(py, || self.0.put_ancestors(&blocks))
    }
    #[getter]
    fn is_remote(&self) -> bool {
        self.0.decided().view.remote.is_some()
    }
    fn become_like(&self, py: Python<'_>, other: &Bound<'_, Self>) -> PyResult<()> {
        let other = other.get().0.clone();
        detached(py, || self.0.become_like(&other))
    }
    fn freeze(&self) -> FrozenRollup {
        FrozenRollup { rollup: self.0.clone(), decided: self.0.decided() }
    }
    #[getter]
    fn chain_id(&self) -> u64 {
        self.0.chain.chain_id
    }
    #[getter]
    fn genesis_hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.genesis_hash.as_slice())
    }
    #[getter]
    fn head(&self, py: Python<'_>) -> PyResult<SealedBlock> {
        let (head, count) = detached(py, || {
            let decided = self.0.decided();
            let head = decided.view.head.clone();
            let count = self.0.content(&decided, head.header.number)?.map_or(0, |content| content.items.len());
            Ok((head, count))
        })?;
        Ok(SealedBlock::new(py, &head, count))
    }
    #[getter]
    fn open_block(&self, py: Python<'_>) -> Option<OpenBlock> {
        self.0.decided().view.open.as_ref().map(|(block, _)| OpenBlock::new(py, block))
    }
    fn session(&self, py: Python<'_>) -> PyResult<Session> {
        detached(py, || Ok(Session::new(self.0.session(), self.0.clone())))
    }
    fn session_at(&self, py: Python<'_>, number: Bound<'_, PyInt>) -> PyResult<Session> {
        // No block has a number beyond 64 bits or below zero.
        let sealed: Option<u64> = number.extract().ok();
        detached(py, || {
            let unknown = || CoreError::new("block_unknown", "a block's number is neither negative nor beyond 64 bits");
            Ok(Session::new(self.0.session_at(sealed.ok_or_else(unknown)?)?, self.0.clone()))
        })
    }
    #[getter]
    fn lowest_unwind(&self, py: Python<'_>) -> PyResult<u64> {
        detached(py, || self.0.lowest_unwind())
    }
    fn replaced_block<'py>(&self, py: Python<'py>, block_hash: &[u8]) -> PyResult<Option<ReplacedBlock<'py>>> {
        let hash = word(block_hash)?;
        let found = detached(py, || {
            let Some(block) = self.0.replaced_block(hash)? else { return Ok(None) };
            let rlp = reads::block_rlp(&block.header(), &mut *block.items());
            Ok(Some((block.number(), rlp, reads::raw_receipts(&block))))
        })?;
        let Some((number, rlp, receipts)) = found else { return Ok(None) };
        let receipts = PyList::new(py, receipts.iter().map(|receipt| PyBytes::new(py, receipt)))?;
        Ok(Some((number, PyBytes::new(py, &rlp), receipts)))
    }
    fn commit(&self, py: Python<'_>, session: &Bound<'_, Session>) -> PyResult<()> {
        let session = session.get();
        detached(py, || self.0.commit(&mut session.lock()))
    }
    fn accounts<'py>(&self, py: Python<'py>, addresses: Vec<PyBackedBytes>, at: i64) -> PyResult<Bound<'py, PyList>> {
        let addresses = addresses.iter().map(|bytes| address(bytes)).collect::<PyResult<Vec<_>>>()?;
        let accounts = detached(py, || self.0.read(|moment| moment.accounts(&addresses, at)))?;
        account_list(py, &accounts)
    }
    fn code<'py>(&self, py: Python<'py>, address: &[u8], at: i64) -> PyResult<Bound<'py, PyBytes>> {
        let address = crate::convert::address(address)?;
        let code = detached(py, || self.0.read(|moment| moment.code(address, at)))?;
        Ok(PyBytes::new(py, &code))
    }
    fn storage<'py>(&self, py: Python<'py>, address: &[u8], slot: &[u8], at: i64) -> PyResult<Bound<'py, PyBytes>> {
        let (address, slot) = (crate::convert::address(address)?, word(slot)?);
        let values = detached(py, || self.0.read(|moment| moment.slots(address, &[slot.into()], at)))?;
        Ok(PyBytes::new(py, &values[0].to_be_bytes::<32>()))
    }
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (states, version, accounts, slots) = detached(py, || {
            let decided = self.0.decided();
            let state = decided.view.state();
            Ok((decided.history.len(), decided.version, state.account_count(), state.slot_count()))
        })?;
        let dict = PyDict::new(py);
        dict.set_item("states_kept", states)?;
        dict.set_item("version", version)?;
        dict.set_item("accounts", accounts)?;
        dict.set_item("slots", slots)?;
        let view = &self.0.decided().view;
        dict.set_item("round_trips", view.remote.as_ref().map_or(0, |remote| remote.round_trips()))?;
        dict.set_item("codes", view.codes.store().len())?;
        Ok(dict)
    }
}
