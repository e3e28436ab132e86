//! Sessions, alone and many at a time.

use std::sync::{Arc, Mutex, MutexGuard};

use alloy_primitives::Bytes;
use plait_core::block::Sealed;
use plait_core::error::CoreError;
use plait_core::rollup::Rollup;
use plait_core::session as core;
use plait_core::transaction::Transaction as CoreTransaction;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyInt, PyList, PyTuple};
use rayon::prelude::*;

use crate::convert::{address, detached, int, place, placed_log, word};
use crate::records::{Attributes, CallResult, OpenBlock, Outcomes, SealedBlock};
use crate::transactions::Transaction;

/// A candidate continuation of a rollup.
#[pyclass(frozen, module = "plait.native._core")]
pub struct Session {
    inner: Mutex<core::Session>,
    /// Where the blocks below the session are.
    rollup: Arc<Rollup>,
}

impl Session {
    /// A session of this rollup.
    pub fn new(session: core::Session, rollup: Arc<Rollup>) -> Self {
        Self { inner: Mutex::new(session), rollup }
    }

    /// Exclusive access; a panic in an earlier call leaves the session usable.
    pub fn lock(&self) -> MutexGuard<'_, core::Session> {
        self.inner.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

/// Whether the run ends at the first transaction that cannot be applied.
fn stops(on_invalid: &str) -> PyResult<bool> {
    match on_invalid {
        "skip" => Ok(false),
        "stop" => Ok(true),
        other => Err(PyValueError::new_err(format!("on_invalid is \"skip\" or \"stop\", not {other:?}"))),
    }
}

fn shared(transactions: &[Bound<'_, Transaction>]) -> Vec<Arc<CoreTransaction>> {
    transactions.iter().map(|transaction| transaction.get().0.clone()).collect()
}

#[pymethods]
impl Session {
    fn fork(&self, py: Python<'_>) -> PyResult<Self> {
        detached(py, || Ok(Self::new(self.lock().fork(), self.rollup.clone())))
    }
    #[getter]
    fn open_block(&self, py: Python<'_>) -> Option<OpenBlock> {
        let guard = py.detach(|| self.lock().open_block().map(plait_core::block::OpenBlock::facts));
        guard.map(|block| OpenBlock::new(py, &block))
    }
    #[getter]
    fn is_remote(&self, py: Python<'_>) -> bool {
        py.detach(|| self.lock().remote().is_some())
    }
    #[getter]
    fn unwound_to(&self, py: Python<'_>) -> Option<u64> {
        py.detach(|| self.lock().base.as_ref().map(|base| base.header.number))
    }
    #[getter]
    fn head_number(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.lock().head().header.number)
    }
    #[getter]
    fn head_hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let hash = py.detach(|| self.lock().head().hash);
        PyBytes::new(py, hash.as_slice())
    }
    #[getter]
    fn head_timestamp(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.lock().head().header.timestamp)
    }
    fn open(&self, py: Python<'_>, attributes: &Bound<'_, Attributes>) -> PyResult<Outcomes> {
        let attributes = attributes.get().0.clone();
        detached(py, || self.lock().complete(|attempt| attempt.open(attributes.clone())).map(Outcomes))
    }
    #[pyo3(signature = (transactions, *, on_invalid = "skip"))]
    fn run(&self, py: Python<'_>, transactions: Vec<Bound<'_, Transaction>>, on_invalid: &str) -> PyResult<Outcomes> {
        let stop = stops(on_invalid)?;
        let transactions = shared(&transactions);
        detached(py, || run(&mut self.lock(), &transactions, stop))
    }
    fn log<'py>(
        &self,
        py: Python<'py>,
        number: Bound<'py, PyInt>,
        index: Bound<'py, PyInt>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some((number, index)) = place(&number, &index) else { return Ok(None) };
        let found = detached(py, || self.lock().log(&self.rollup, number, index))?;
        found.map(|placed| placed_log(py, &placed)).transpose()
    }
    fn call(&self, py: Python<'_>, sender: &[u8], to: &[u8], data: &[u8], gas: u64) -> PyResult<CallResult> {
        let (sender, to) = (address(sender)?, address(to)?);
        let data = Bytes::copy_from_slice(data);
        let result = detached(py, || self.lock().complete(|attempt| attempt.call(sender, to, data.clone(), gas)))?;
        Ok(CallResult::new(py, result))
    }
    #[pyo3(signature = (keys, transactions = Vec::new()))]
    fn prefetch(
        &self,
        py: Python<'_>,
        keys: Vec<(PyBackedBytes, Vec<PyBackedBytes>)>,
        transactions: Vec<Bound<'_, Transaction>>,
    ) -> PyResult<()> {
        let slots = |slots: &[PyBackedBytes]| slots.iter().map(|slot| Ok(word(slot)?.into())).collect::<PyResult<_>>();
        let keys = keys.iter().map(|(account, keys)| Ok((address(account)?, slots(keys)?)));
        let keys = keys.collect::<PyResult<Vec<_>>>()?;
        let transactions = shared(&transactions);
        detached(py, || self.lock().prefetch(&keys, &transactions))
    }
    fn checkpoint(&self, py: Python<'_>) -> PyResult<usize> {
        detached(py, || self.lock().checkpoint())
    }
    fn rollback(&self, py: Python<'_>, checkpoint: usize) -> PyResult<()> {
        detached(py, || self.lock().rollback(checkpoint))
    }
    fn seal(&self, py: Python<'_>) -> PyResult<SealedBlock> {
        let sealed = detached(py, || self.lock().complete(core::Session::seal))?;
        Ok(SealedBlock::with_content(py, &sealed))
    }
    fn accounts<'py>(&self, py: Python<'py>, addresses: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyList>> {
        let addresses = addresses.iter().map(|bytes| address(bytes)).collect::<PyResult<Vec<_>>>()?;
        let accounts = detached(py, || {
            let read = |session: &mut core::Session| {
                Ok(addresses.iter().map(|address| session.account(*address)).collect::<Vec<_>>())
            };
            self.lock().complete(read)
        })?;
        account_list(py, &accounts)
    }
    fn storage<'py>(&self, py: Python<'py>, address: &[u8], slot: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let (address, slot) = (self::address(address)?, word(slot)?);
        let value = detached(py, || self.lock().complete(|session| Ok(session.slot(address, slot.into()))))?;
        Ok(PyBytes::new(py, &value.to_be_bytes::<32>()))
    }
}

/// Runs transactions; on remote state what they name is read at once before.
fn run(session: &mut core::Session, transactions: &[Arc<CoreTransaction>], stop: bool) -> Result<Outcomes, CoreError> {
    session.prefetch(&[], transactions)?;
    session.complete(|attempt| attempt.run(transactions, stop)).map(Outcomes)
}

/// (nonce, balance, has_code) per account.
pub fn account_list<'py>(
    py: Python<'py>,
    accounts: &[Option<plait_core::AccountInfo>],
) -> PyResult<Bound<'py, PyList>> {
    let items = accounts.iter().map(|account| {
        let account = account.unwrap_or_default();
        PyTuple::new(
            py,
            [
                account.nonce.into_pyobject(py)?.into_any(),
                int(py, account.balance)?,
                account.has_code().into_pyobject(py)?.to_owned().into_any(),
            ],
        )
    });
    PyList::new(py, items.collect::<PyResult<Vec<_>>>()?)
}

/// Runs disjoint sessions in parallel.
#[pyfunction]
#[pyo3(signature = (work, *, on_invalid = "skip"))]
pub fn run_many(
    py: Python<'_>,
    work: Vec<(Bound<'_, Session>, Vec<Bound<'_, Transaction>>)>,
    on_invalid: &str,
) -> PyResult<Vec<Outcomes>> {
    let stop = stops(on_invalid)?;
    let tasks: Vec<_> = work.iter().map(|(session, batch)| (session.get(), shared(batch))).collect();
    each_session(py, &tasks, |session, transactions| run(session, transactions, stop))
}

/// Seals and opens the next blocks of many sessions in parallel.
#[pyfunction]
pub fn advance_many<'py>(
    py: Python<'py>,
    work: Vec<(Bound<'py, Session>, Vec<Bound<'py, Attributes>>)>,
) -> PyResult<Vec<Vec<SealedBlock>>> {
    let attributes = |all: &[Bound<'py, Attributes>]| all.iter().map(|one| one.get().0.clone()).collect::<Vec<_>>();
    let tasks: Vec<_> = work.iter().map(|(session, all)| (session.get(), attributes(all))).collect();
    let sealed = each_session(py, &tasks, |session, attributes| session.advance(attributes))?;
    let records = |blocks: &Vec<Arc<Sealed>>| blocks.iter().map(|block| SealedBlock::with_content(py, block)).collect();
    Ok(sealed.iter().map(records).collect())
}

/// Does `work` for every session at once and answers in the order of the tasks.
///
/// The locks are taken here, by rising address, and not inside the parallel tasks: a worker that waits for its own sub-tasks may
/// pick up a task that waits for a lock held further down its own stack, and would then wait for itself.
fn each_session<Input: Sync, Output: Send>(
    py: Python<'_>,
    tasks: &[(&Session, Input)],
    work: impl Fn(&mut core::Session, &Input) -> Result<Output, CoreError> + Sync,
) -> PyResult<Vec<Output>> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_unstable_by_key(|index| std::ptr::from_ref(tasks[*index].0) as usize);
    if order.windows(2).any(|pair| std::ptr::eq(tasks[pair[0]].0, tasks[pair[1]].0)) {
        return Err(PyValueError::new_err("a session occurs twice in the work list"));
    }
    detached(py, || {
        let mut guards: Vec<_> = order.iter().map(|index| tasks[*index].0.lock()).collect();
        let jobs: Vec<_> =
            guards.iter_mut().zip(&order).map(|(guard, index)| (&mut **guard, &tasks[*index].1, *index)).collect();
        // A session that may wait for somebody gets a thread of its own: it must not hold up what others do on rayon's.
        let (distant, near): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|(session, ..)| session.remote().is_some());
        let step = |(session, input, index): (&mut core::Session, &Input, usize)| Ok((index, work(session, input)?));
        let mut done = std::thread::scope(|scope| {
            let waiting: Vec<_> = distant.into_iter().map(|job| scope.spawn(|| step(job))).collect();
            let mut done = near.into_par_iter().with_max_len(1).map(step).collect::<Vec<Result<_, CoreError>>>();
            for thread in waiting {
                let panicked = |_| Err(CoreError::internal("a session's step panicked"));
                done.push(thread.join().unwrap_or_else(panicked));
            }
            done.into_iter().collect::<Result<Vec<_>, CoreError>>()
        })?;
        done.sort_unstable_by_key(|(index, _)| *index);
        Ok(done.into_iter().map(|(_, output)| output).collect())
    })
}
