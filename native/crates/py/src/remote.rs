//! A reader of remote state that is written in Python.

use alloy_primitives::{Bytes, B256};
use plait_core::error::CoreError;
use plait_core::remote::{Anchor, Answer, Ask, Reader};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// An object with a method `read`, as `_core.pyi` describes it.
#[derive(Debug)]
pub struct PythonReader(pub Py<PyAny>);

type Answered = (Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<Vec<u8>>);

impl PythonReader {
    fn call(&self, py: Python<'_>, anchor: &Anchor, ask: &Ask) -> PyResult<Answered> {
        let word = |word: &B256| PyBytes::new(py, word.as_slice());
        let accounts = PyList::empty(py);
        for (address, slots) in &ask.accounts {
            let slots = PyList::new(py, slots.iter().map(|slot| PyBytes::new(py, &slot.to_be_bytes::<32>())))?;
            accounts.append((PyBytes::new(py, address.as_slice()), slots))?;
        }
        let codes = PyList::empty(py);
        for (address, hash) in &ask.codes {
            codes.append((PyBytes::new(py, address.as_slice()), word(hash)))?;
        }
        let nodes = PyList::new(py, ask.nodes.iter().map(word))?;
        let arguments = (anchor.number, word(&anchor.hash), accounts, codes, nodes, ask.headers);
        self.0.call_method1(py, "read", arguments)?.extract(py)
    }
}

impl Reader for PythonReader {
    fn read(&self, anchor: &Anchor, ask: &Ask) -> Result<Answer, CoreError> {
        let (nodes, codes, headers) = Python::attach(|py| self.call(py, anchor, ask))
            .map_err(|error| CoreError::new("remote_unavailable", format!("the state could not be read: {error}")))?;
        let bytes = |all: Vec<Vec<u8>>| all.into_iter().map(Bytes::from).collect();
        Ok(Answer { nodes: bytes(nodes), codes: bytes(codes), headers: bytes(headers) })
    }
}
