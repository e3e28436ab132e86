//! Calls, estimates, access lists and traces.

use plait_core::calls::call;
use plait_core::estimate::{access_list_json, estimate_gas};
use plait_core::trace::{trace_call_json, trace_transaction_json};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::{detached, word};
use crate::records::CallResult;
use crate::rollup::Rollup;

#[pymethods]
impl Rollup {
    #[pyo3(signature = (request_json, at, overrides_json, block_overrides_json, gas_cap))]
    fn call(
        &self,
        py: Python<'_>,
        request_json: &[u8],
        at: i64,
        overrides_json: Option<&[u8]>,
        block_overrides_json: Option<&[u8]>,
        gas_cap: u64,
    ) -> PyResult<CallResult> {
        let result = detached(py, || call(&self.0, request_json, at, overrides_json, block_overrides_json, gas_cap))?;
        Ok(CallResult::new(py, result))
    }
    #[pyo3(signature = (request_json, at, overrides_json, gas_cap))]
    fn estimate_gas(
        &self,
        py: Python<'_>,
        request_json: &[u8],
        at: i64,
        overrides_json: Option<&[u8]>,
        gas_cap: u64,
    ) -> PyResult<u64> {
        detached(py, || estimate_gas(&self.0, request_json, at, overrides_json, gas_cap))
    }
    fn access_list_json<'py>(
        &self,
        py: Python<'py>,
        request_json: &[u8],
        at: i64,
        gas_cap: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let json = detached(py, || access_list_json(&self.0, request_json, at, gas_cap))?;
        Ok(PyBytes::new(py, &json))
    }
    fn trace_call_json<'py>(
        &self,
        py: Python<'py>,
        request_json: &[u8],
        at: i64,
        options_json: &[u8],
        gas_cap: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let json = detached(py, || trace_call_json(&self.0, request_json, at, options_json, gas_cap))?;
        Ok(PyBytes::new(py, &json))
    }
    fn trace_transaction_json<'py>(
        &self,
        py: Python<'py>,
        transaction_hash: &[u8],
        options_json: &[u8],
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let hash = word(transaction_hash)?;
        let json = detached(py, || trace_transaction_json(&self.0, hash, options_json))?;
        Ok(json.map(|json| PyBytes::new(py, &json)))
    }
}
