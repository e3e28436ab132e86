//! Reads of blocks, transactions, receipts, logs, fees and proofs. `at` is a sealed block's number or PENDING.

use alloy_primitives::{Address, B256, U256};
use alloy_rlp::Encodable;
use plait_core::error::CoreError;
use plait_core::fees::{fee_history_json, L1Costs};
use plait_core::reads;
use plait_core::rollup::{AnyBlock, Decided, PENDING};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyInt, PyList, PyTuple};

use crate::convert::{self, detached, int, place, placed_log, word};
use crate::rollup::Rollup;
use crate::transactions::Transaction;

type Json<'py> = PyResult<Option<Bound<'py, PyBytes>>>;
type CostParameters<'py> = (Bound<'py, PyAny>, u64, Bound<'py, PyAny>, u64, u64, u64, u64);
type PendingOutcome<'py> = (u8, u64, Bound<'py, PyList>);

fn bytes<'py>(py: Python<'py>, value: Option<Vec<u8>>) -> Option<Bound<'py, PyBytes>> {
    value.map(|value| PyBytes::new(py, &value))
}

impl Rollup {
    /// The block with a transaction, and the transaction's place in it.
    fn holder(&self, decided: &Decided, hash: B256) -> Result<Option<(AnyBlock, usize)>, CoreError> {
        let Some((number, index)) = self.0.location(decided, hash)? else { return Ok(None) };
        let is_open = decided.view.open.as_ref().is_some_and(|(open, _)| open.number == number);
        let at = if is_open { PENDING } else { number as i64 };
        Ok(self.0.block(decided, at)?.map(|block| (block, index)))
    }

    fn sealed(&self, decided: &Decided, at: i64) -> Result<Option<AnyBlock>, CoreError> {
        let block = self.0.block(decided, at)?;
        Ok(block.filter(|block| matches!(block, AnyBlock::Sealed(..))))
    }
}

#[pymethods]
impl Rollup {
    fn log<'py>(
        &self,
        py: Python<'py>,
        number: Bound<'py, PyInt>,
        index: Bound<'py, PyInt>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some((number, index)) = place(&number, &index) else { return Ok(None) };
        let found = detached(py, || self.0.log(&self.0.decided(), number, index))?;
        found.map(|placed| placed_log(py, &placed)).transpose()
    }
    fn block_json<'py>(&self, py: Python<'py>, at: i64, full: bool) -> Json<'py> {
        let json = detached(py, || {
            let block = self.0.block(&self.0.decided(), at)?;
            Ok(block.map(|block| reads::block_json(&block, full)))
        })?;
        Ok(bytes(py, json))
    }
    fn header_json<'py>(&self, py: Python<'py>, at: i64) -> Json<'py> {
        let json = detached(py, || {
            let decided = self.0.decided();
            if let (PENDING, Some((open, _))) = (at, &decided.view.open) {
                return Ok(Some(reads::header_json(&reads::open_header(open), None)));
            }
            let number = if at == PENDING { decided.view.head.header.number } else { at as u64 };
            let found = self.0.header(&decided, number)?;
            Ok(found.map(|(header, hash)| reads::header_json(&header, Some(hash))))
        })?;
        Ok(bytes(py, json))
    }
    fn block_number_by_hash(&self, py: Python<'_>, block_hash: &[u8]) -> PyResult<Option<u64>> {
        let hash = word(block_hash)?;
        detached(py, || self.0.number_by_hash(&self.0.decided(), hash))
    }
    fn block_receipts_json<'py>(&self, py: Python<'py>, at: i64) -> Json<'py> {
        let json = detached(py, || {
            let block = self.0.block(&self.0.decided(), at)?;
            Ok(block.map(|block| reads::block_receipts_json(&self.0, &block)))
        })?;
        Ok(bytes(py, json))
    }
    fn receipt_json<'py>(&self, py: Python<'py>, transaction_hash: &[u8]) -> Json<'py> {
        let hash = word(transaction_hash)?;
        let json = detached(py, || {
            let found = self.holder(&self.0.decided(), hash)?;
            let sealed = found.filter(|(block, _)| matches!(block, AnyBlock::Sealed(..)));
            Ok(sealed.and_then(|(block, index)| reads::receipt_json(&self.0, &block, index)))
        })?;
        Ok(bytes(py, json))
    }
    fn transaction_json<'py>(&self, py: Python<'py>, transaction_hash: &[u8]) -> Json<'py> {
        let hash = word(transaction_hash)?;
        let json = detached(py, || {
            let found = self.holder(&self.0.decided(), hash)?;
            Ok(found.and_then(|(block, index)| reads::transaction_json(&block, index)))
        })?;
        Ok(bytes(py, json))
    }
    fn transaction_by_index_json<'py>(&self, py: Python<'py>, at: i64, index: usize) -> Json<'py> {
        let json = detached(py, || {
            let block = self.0.block(&self.0.decided(), at)?;
            Ok(block.and_then(|block| reads::transaction_json(&block, index)))
        })?;
        Ok(bytes(py, json))
    }
    fn transaction_location(&self, py: Python<'_>, transaction_hash: &[u8]) -> PyResult<Option<(u64, usize)>> {
        let hash = word(transaction_hash)?;
        detached(py, || self.0.location(&self.0.decided(), hash))
    }
    fn pending_outcome<'py>(&self, py: Python<'py>, transaction_hash: &[u8]) -> PyResult<Option<PendingOutcome<'py>>> {
        let hash = word(transaction_hash)?;
        let decided = self.0.decided();
        let Some((_, item)) = decided.view.open.as_ref().and_then(|(open, _)| open.find(&hash)) else {
            return Ok(None);
        };
        Ok(Some((u8::from(item.success), item.gas_used, convert::logs(py, &item.logs)?)))
    }
    fn raw_transaction<'py>(&self, py: Python<'py>, transaction_hash: &[u8]) -> Json<'py> {
        let hash = word(transaction_hash)?;
        let raw = detached(py, || {
            let found = self.holder(&self.0.decided(), hash)?;
            Ok(found.and_then(|(block, index)| block.items().nth(index).map(|item| item.transaction.raw.to_vec())))
        })?;
        Ok(bytes(py, raw))
    }
    fn raw_block<'py>(&self, py: Python<'py>, at: i64) -> Json<'py> {
        let raw = detached(py, || {
            let block = self.sealed(&self.0.decided(), at)?;
            Ok(block.map(|block| reads::block_rlp(&block.header(), &mut *block.items())))
        })?;
        Ok(bytes(py, raw))
    }
    fn raw_header<'py>(&self, py: Python<'py>, at: i64) -> Json<'py> {
        let raw = detached(py, || {
            let block = self.sealed(&self.0.decided(), at)?;
            Ok(block.map(|block| {
                let mut out = Vec::with_capacity(700);
                block.header().encode(&mut out);
                out
            }))
        })?;
        Ok(bytes(py, raw))
    }
    fn raw_receipts<'py>(&self, py: Python<'py>, at: i64) -> PyResult<Option<Bound<'py, PyList>>> {
        let raw = detached(py, || {
            let block = self.sealed(&self.0.decided(), at)?;
            Ok(block.map(|block| reads::raw_receipts(&block)))
        })?;
        raw.map(|items| PyList::new(py, items.iter().map(|item| PyBytes::new(py, item)))).transpose()
    }
    fn block_transaction_count(&self, py: Python<'_>, at: i64) -> PyResult<Option<usize>> {
        detached(py, || {
            let block = self.0.block(&self.0.decided(), at)?;
            Ok(block.map(|block| match &block {
                AnyBlock::Sealed(_, _, content) => content.items.len(),
                AnyBlock::Open(open) => open.transaction_count,
            }))
        })
    }
    fn logs_json<'py>(
        &self,
        py: Python<'py>,
        from_block: u64,
        to_block: u64,
        addresses: Vec<PyBackedBytes>,
        topics: Vec<Option<Vec<PyBackedBytes>>>,
        logs_max: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let addresses = addresses.iter().map(|item| convert::address(item)).collect::<PyResult<Vec<Address>>>()?;
        let words = |items: &Vec<PyBackedBytes>| items.iter().map(|item| word(item)).collect::<PyResult<Vec<B256>>>();
        let topics =
            topics.iter().map(|wanted| wanted.as_ref().map(words).transpose()).collect::<PyResult<Vec<_>>>()?;
        let filter = reads::LogFilter { addresses, topics };
        let json =
            detached(py, || reads::logs_json(&self.0, &self.0.decided(), from_block, to_block, &filter, logs_max))?;
        Ok(PyBytes::new(py, &json))
    }
    fn fee_history_json<'py>(
        &self,
        py: Python<'py>,
        block_count: u64,
        newest: i64,
        percentiles: Vec<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let json = detached(py, || fee_history_json(&self.0, &self.0.decided(), block_count, newest, &percentiles))?;
        Ok(PyBytes::new(py, &json))
    }
    fn proof_json<'py>(
        &self,
        py: Python<'py>,
        address: &[u8],
        slots: Vec<PyBackedBytes>,
        at: i64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let address = convert::address(address)?;
        let slots = slots.iter().map(|slot| word(slot)).collect::<PyResult<Vec<_>>>()?;
        let json = detached(py, || reads::proof_json(&self.0, address, &slots, at))?;
        Ok(PyBytes::new(py, &json))
    }
    fn execution_payload_json<'py>(
        &self,
        py: Python<'py>,
        at: i64,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let (json, root) = detached(py, || {
            let Some(AnyBlock::Sealed(header, hash, content)) = self.sealed(&self.0.decided(), at)? else {
                return Err(CoreError::new("block_unknown", format!("block {at} is not a sealed block")));
            };
            let isthmus = header.requests_hash.is_some();
            Ok(reads::execution_payload_json(&header, hash, &content.items, isthmus))
        })?;
        Ok((PyBytes::new(py, &json), PyBytes::new(py, root.as_slice())))
    }
    fn l1_cost_parameters<'py>(&self, py: Python<'py>, at: i64) -> PyResult<CostParameters<'py>> {
        let costs = detached(py, || L1Costs::at(&self.0, at))?;
        Ok((
            int(py, costs.l1_base_fee)?,
            costs.base_fee_scalar,
            int(py, costs.l1_blob_base_fee)?,
            costs.blob_base_fee_scalar,
            costs.operator_fee_scalar,
            costs.operator_fee_constant,
            costs.da_footprint_scalar,
        ))
    }
    fn additional_costs<'py>(
        &self,
        py: Python<'py>,
        transactions: Vec<Bound<'py, Transaction>>,
        at: i64,
    ) -> PyResult<Bound<'py, PyList>> {
        let transactions: Vec<_> = transactions.iter().map(|transaction| transaction.get().0.clone()).collect();
        let costs = detached(py, || {
            let costs = L1Costs::at(&self.0, at)?;
            let spec = self.0.chain.spec;
            Ok(transactions.iter().map(|item| costs.additional_cost(spec, item)).collect::<Vec<U256>>())
        })?;
        PyList::new(py, costs.into_iter().map(|cost| int(py, cost)).collect::<PyResult<Vec<_>>>()?)
    }
}
