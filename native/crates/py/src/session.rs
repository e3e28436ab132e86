//! Sessions, alone and many at a time.

use std::sync::{Arc, Mutex, MutexGuard};

use plait_core::error::CoreError;
use plait_core::session as core;
use plait_core::transaction::Transaction as CoreTransaction;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyTuple};
use rayon::prelude::*;

use crate::convert::{address, detached, int};
use crate::records::{Attributes, OpenBlock, Outcomes, SealedBlock};
use crate::transactions::Transaction;

/// A candidate continuation of a rollup.
#[pyclass(frozen, module = "plait.native._core")]
pub struct Session(pub Mutex<core::Session>);

impl Session {
    /// Exclusive access; a panic in an earlier call leaves the session usable.
    pub fn lock(&self) -> MutexGuard<'_, core::Session> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner())
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
        detached(py, || Ok(Self(Mutex::new(self.lock().fork()))))
    }
    #[getter]
    fn open_block(&self, py: Python<'_>) -> Option<OpenBlock> {
        let guard = py.detach(|| self.lock().open_block().map(plait_core::block::OpenBlock::facts));
        guard.map(|block| OpenBlock::new(py, &block))
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
        detached(py, || self.lock().open(attributes).map(Outcomes))
    }
    #[pyo3(signature = (transactions, *, on_invalid = "skip"))]
    fn run(&self, py: Python<'_>, transactions: Vec<Bound<'_, Transaction>>, on_invalid: &str) -> PyResult<Outcomes> {
        let stop = stops(on_invalid)?;
        let transactions = shared(&transactions);
        detached(py, || self.lock().run(&transactions, stop).map(Outcomes))
    }
    fn checkpoint(&self, py: Python<'_>) -> PyResult<usize> {
        detached(py, || self.lock().checkpoint())
    }
    fn rollback(&self, py: Python<'_>, checkpoint: usize) -> PyResult<()> {
        detached(py, || self.lock().rollback(checkpoint))
    }
    fn seal(&self, py: Python<'_>) -> PyResult<SealedBlock> {
        let sealed = detached(py, || self.lock().seal())?;
        Ok(SealedBlock::with_content(py, &sealed))
    }
    fn accounts<'py>(&self, py: Python<'py>, addresses: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyList>> {
        let addresses = addresses.iter().map(|bytes| address(bytes)).collect::<PyResult<Vec<_>>>()?;
        let accounts = detached(py, || {
            let mut session = self.lock();
            Ok(addresses.iter().map(|address| session.account(*address)).collect::<Vec<_>>())
        })?;
        account_list(py, &accounts)
    }
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
    disjoint(work.iter().map(|(session, _)| session))?;
    let tasks: Vec<(&Session, Vec<Arc<CoreTransaction>>)> =
        work.iter().map(|(session, transactions)| (session.get(), shared(transactions))).collect();
    detached(py, || {
        tasks
            .par_iter()
            .with_max_len(1)
            .map(|(session, transactions)| session.lock().run(transactions, stop).map(Outcomes))
            .collect::<Result<Vec<_>, CoreError>>()
    })
}

/// Seals and opens the next blocks of many sessions in parallel.
#[pyfunction]
pub fn advance_many<'py>(
    py: Python<'py>,
    work: Vec<(Bound<'py, Session>, Vec<Bound<'py, Attributes>>)>,
) -> PyResult<Vec<Vec<SealedBlock>>> {
    disjoint(work.iter().map(|(session, _)| session))?;
    let tasks: Vec<(&Session, Vec<_>)> = work
        .iter()
        .map(|(session, all)| (session.get(), all.iter().map(|attributes| attributes.get().0.clone()).collect()))
        .collect();
    let sealed = detached(py, || {
        tasks
            .par_iter()
            .with_max_len(1)
            .map(|(session, attributes)| session.lock().advance(attributes))
            .collect::<Result<Vec<_>, CoreError>>()
    })?;
    Ok(sealed
        .iter()
        .map(|blocks| blocks.iter().map(|block| SealedBlock::with_content(py, block)).collect())
        .collect())
}

/// The same session twice would wait for itself.
fn disjoint<'a, 'py: 'a>(sessions: impl Iterator<Item = &'a Bound<'py, Session>>) -> PyResult<()> {
    let mut pointers: Vec<_> = sessions.map(|session| session.as_ptr()).collect();
    pointers.sort_unstable();
    if pointers.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(PyValueError::new_err("a session occurs twice in the work list"));
    }
    Ok(())
}
