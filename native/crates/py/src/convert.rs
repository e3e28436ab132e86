//! Errors, integers and byte strings between Rust and Python.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

use alloy_primitives::{Address, Log, B256, U256};
use plait_core::error::CoreError;
use plait_core::logs::PlacedLog;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyTuple};

pyo3::create_exception!(
    _core,
    NativeError,
    PyException,
    "A refused call of the native core: `code` is a stable snake_case string, `data` the revert data (empty otherwise)."
);

/// The Python exception for a refused call.
pub fn raise(py: Python<'_>, error: CoreError) -> PyErr {
    let raised = NativeError::new_err(error.message);
    let value = raised.value(py);
    let set = value.setattr("code", error.code).and_then(|()| value.setattr("data", PyBytes::new(py, &error.data)));
    match set {
        Ok(()) => raised,
        Err(other) => other,
    }
}

/// Runs `work` detached from the interpreter; errors and panics become `NativeError`.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, CoreError> + Send) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work)))
        .unwrap_or_else(|panic| Err(CoreError::internal(format!("the native core panicked: {}", panic_text(&*panic)))))
        .map_err(|error| raise(py, error))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// A Python integer.
pub fn int(py: Python<'_>, value: U256) -> PyResult<Bound<'_, PyAny>> {
    if let Ok(small) = u64::try_from(value) {
        return Ok(small.into_pyobject(py)?.into_any());
    }
    let bytes = PyBytes::new(py, &value.to_be_bytes::<32>());
    py.get_type::<PyInt>().call_method1("from_bytes", (bytes, "big"))
}

/// 20 bytes.
pub fn address(bytes: &[u8]) -> PyResult<Address> {
    Address::try_from(bytes).map_err(|_| PyValueError::new_err(format!("an address has 20 bytes, not {}", bytes.len())))
}

/// 32 bytes.
pub fn word(bytes: &[u8]) -> PyResult<B256> {
    B256::try_from(bytes)
        .map_err(|_| PyValueError::new_err(format!("a hash or slot has 32 bytes, not {}", bytes.len())))
}

/// (address, topics, data) per log.
pub fn logs<'py>(py: Python<'py>, logs: &[Log]) -> PyResult<Bound<'py, PyList>> {
    let items = logs.iter().map(|log| log_fields(py, log)?.into_pyobject(py));
    PyList::new(py, items.collect::<PyResult<Vec<_>>>()?)
}

/// Address, topics and data of a log.
pub type LogFields<'py> = (Bound<'py, PyBytes>, Bound<'py, PyList>, Bound<'py, PyBytes>);

/// The fields of one log.
pub fn log_fields<'py>(py: Python<'py>, log: &Log) -> PyResult<LogFields<'py>> {
    let topics = PyList::new(py, log.topics().iter().map(|topic| PyBytes::new(py, topic.as_slice())))?;
    Ok((PyBytes::new(py, log.address.as_slice()), topics, PyBytes::new(py, &log.data.data)))
}

/// (timestamp, address, topics, data) of a log found by its place.
pub fn placed_log<'py>(py: Python<'py>, placed: &PlacedLog) -> PyResult<Bound<'py, PyTuple>> {
    let (address, topics, data) = log_fields(py, &placed.log)?;
    (placed.timestamp, address, topics, data).into_pyobject(py)
}

/// Block number and log index; None when one is negative or beyond 64 bits, where no block and no log can be.
pub fn place(number: &Bound<'_, PyInt>, index: &Bound<'_, PyInt>) -> Option<(u64, u64)> {
    Some((number.extract().ok()?, index.extract().ok()?))
}
