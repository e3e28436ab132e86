//! The one error of the core: a stable snake_case code, a sentence that helps, and the revert data where there is some.
//!
//! Codes are part of the contract in `plait/native/_core.pyi`; the Python face raises `NativeError` with the same code.

use std::fmt;

/// A refused call. `code` is stable; `message` is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreError {
    /// Stable snake_case identifier.
    pub code: &'static str,
    /// A sentence that says what was wrong.
    pub message: String,
    /// Revert data of an executed call; empty otherwise.
    pub data: Vec<u8>,
}

impl CoreError {
    /// An error without data.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: Vec::new() }
    }

    /// An error that carries revert data.
    pub fn with_data(code: &'static str, message: impl Into<String>, data: Vec<u8>) -> Self {
        Self { code, message: message.into(), data }
    }

    /// A broken invariant of the core itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new("internal", message)
    }
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for CoreError {}

/// Result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, CoreError>;
