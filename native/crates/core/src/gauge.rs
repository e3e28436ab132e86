//! The bound of a trace: an inspector that ends a run whose record grows beyond memory.
//!
//! A call costs about 100 gas and nothing per byte of its input, so a few million gas can ask for gigabytes of frames. Frames and
//! their bytes (inputs, outputs, init code, logs) are counted as they come; beyond a bound the run ends with `trace_too_large`.

use alloy_primitives::Log;
use revm::context_interface::{ContextError, ContextTr};
use revm::interpreter::interpreter_types::LoopControl;
use revm::interpreter::{CallInputs, CallOutcome, CreateInputs, CreateOutcome, Interpreter};
use revm::Inspector;

use crate::error::CoreError;

/// Frames of one trace; about 1.5 kB of memory each, besides their bytes.
pub const TRACE_FRAMES_MAX: usize = 50_000;
/// Bytes of one trace, all frames together; their JSON is twice as long.
pub const TRACE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a run that grew too large ends with inside the EVM.
pub const TOO_LARGE: &str = "trace too large";

/// Counts what a trace keeps.
#[derive(Debug, Default)]
pub struct Gauge {
    frames: usize,
    bytes: usize,
}

impl Gauge {
    fn add(&mut self, frames: usize, bytes: usize, context: &mut impl ContextTr) {
        self.frames += frames;
        self.bytes = self.bytes.saturating_add(bytes);
        self.check(context);
    }

    fn is_over(&self) -> bool {
        self.frames > TRACE_FRAMES_MAX || self.bytes > TRACE_BYTES_MAX
    }

    fn check(&self, context: &mut impl ContextTr) {
        if self.is_over() && context.error().is_ok() {
            *context.error() = Err(ContextError::Custom(TOO_LARGE.into()));
        }
    }

    /// Ends the frame that runs, whatever it was about to do.
    fn stop(&self, interpreter: &mut Interpreter, context: &mut impl ContextTr) {
        if self.is_over() {
            self.check(context);
            interpreter.bytecode.action().take();
            interpreter.bytecode.reset_action();
            interpreter.halt_fatal();
        }
    }
}

impl<CTX: ContextTr> Inspector<CTX> for Gauge {
    fn step(&mut self, interpreter: &mut Interpreter, context: &mut CTX) {
        self.stop(interpreter, context);
    }

    fn step_end(&mut self, interpreter: &mut Interpreter, context: &mut CTX) {
        self.stop(interpreter, context);
    }

    fn log(&mut self, context: &mut CTX, log: Log) {
        self.add(0, log.data.data.len() + 32 * log.topics().len(), context);
    }

    fn call(&mut self, context: &mut CTX, inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.add(1, inputs.input.len(), context);
        None
    }

    fn call_end(&mut self, context: &mut CTX, _: &CallInputs, outcome: &mut CallOutcome) {
        self.add(0, outcome.result.output.len(), context);
    }

    fn create(&mut self, context: &mut CTX, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        self.add(1, inputs.init_code().len(), context);
        None
    }

    fn create_end(&mut self, context: &mut CTX, _: &CreateInputs, outcome: &mut CreateOutcome) {
        self.add(0, outcome.result.output.len(), context);
    }
}

/// The refusal of a trace beyond the bounds.
pub fn too_large() -> CoreError {
    CoreError::new(
        "trace_too_large",
        format!("{TOO_LARGE}: more than {TRACE_FRAMES_MAX} frames or {TRACE_BYTES_MAX} bytes of them"),
    )
}
