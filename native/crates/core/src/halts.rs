//! op-geth's words for executions that fail (`core/vm/errors.go`, `core/vm/contracts.go` of v1.101702.3).
//!
//! revm names the kind of a failure; op-geth's sentence often holds more: the opcode, the stack, the size of the code, what was wrong
//! with a precompile's input. A [`Witness`] watches a run and keeps these per frame; it sees every step, so it is used for traces and
//! for a second run of a call that failed in a way that
//! needs it.

use alloy_primitives::{Address, Bytes, U256};
use alloy_rpc_types_trace::geth::CallFrame;
use op_revm::OpHaltReason;
use revm::bytecode::opcode::{
    OpCode, CALL, CALLCODE, CALLDATACOPY, CODECOPY, CREATE, CREATE2, DELEGATECALL, EXTCODECOPY, KECCAK256, LOG0, LOG4,
    MCOPY, MLOAD, MSTORE, MSTORE8, RETURN, RETURNDATACOPY, REVERT, SELFDESTRUCT, SSTORE, STATICCALL,
};
use revm::context::result::{HaltReason, OutOfGasError};
use revm::context_interface::ContextTr;
use revm::interpreter::interpreter_types::Jumps;
use revm::interpreter::{
    CallInputs, CallOutcome, CreateInputs, CreateOutcome, InstructionResult, Interpreter, InterpreterResult,
};
use revm::precompile::bls12_381_const as bls;
use revm::precompile::bls12_381_utils::msm_required_gas;
use revm::Inspector;
use sha2::{Digest, Sha256};

use crate::gauge::TRACE_FRAMES_MAX;

/// Values on a stack.
const STACK_LIMIT: usize = 1024;
/// Bytes of memory whose price go-ethereum can still compute.
const MEMORY_BYTES_MAX: u64 = 0x1f_ffff_ffe0;
/// Bytes of a contract's code (EIP-170).
const CODE_BYTES_MAX: usize = 24_576;
/// Bytes of init code (EIP-3860).
pub const INIT_CODE_BYTES_MAX: usize = 49_152;

/// What a sentence needs beyond the kind of failure.
#[derive(Debug, Clone, Default)]
struct Facts {
    /// The last opcode that began.
    opcode: Option<u8>,
    /// Values on the stack when it began.
    stack: usize,
    /// Size operand of a CREATE or CREATE2.
    init_code_bytes: Option<u64>,
    /// Where the memory that it touches ends; None when it touches none.
    memory_end: Option<U256>,
    /// Address and input of a precompile that refused it, and the gas it was given.
    precompile: Option<(u16, Bytes, u64)>,
    /// What a creation returned; None for calls.
    created: Option<Bytes>,
}

/// An inspector that keeps op-geth's sentence for every frame that failed other than by a revert.
#[derive(Debug, Default)]
pub struct Witness {
    open: Vec<(usize, Facts)>,
    sentences: Vec<Option<String>>,
}

impl Witness {
    /// The sentence of the outermost frame.
    pub fn outermost(&self) -> Option<&str> {
        self.sentences.first()?.as_deref()
    }

    /// Puts the sentences into a call trace of the same run.
    pub fn reword(&self, root: &mut CallFrame) {
        let mut next = 0;
        self.reword_from(root, &mut next);
    }

    fn reword_from(&self, frame: &mut CallFrame, next: &mut usize) {
        // A selfdestruct is listed among the calls and is none.
        if frame.typ == "SELFDESTRUCT" {
            return;
        }
        if let (Some(Some(sentence)), true) = (self.sentences.get(*next), frame.error.is_some()) {
            frame.error = Some(sentence.clone());
        }
        *next += 1;
        for call in &mut frame.calls {
            self.reword_from(call, next);
        }
    }

    fn begin(&mut self) {
        self.open.push((self.sentences.len(), Facts::default()));
        self.sentences.push(None);
    }

    fn end(&mut self, result: &InterpreterResult, is_creation: bool) {
        let Some((index, mut facts)) = self.open.pop() else { return };
        if index > TRACE_FRAMES_MAX {
            return; // no trace is that long, and of a call only the outermost frame is asked for
        }
        facts.created = is_creation.then(|| result.output.clone());
        self.sentences[index] = words(result.result, &facts);
    }
}

impl<CTX: ContextTr> Inspector<CTX> for Witness {
    fn step(&mut self, interpreter: &mut Interpreter, _: &mut CTX) {
        let Some((_, facts)) = self.open.last_mut() else { return };
        let opcode = interpreter.bytecode.opcode();
        facts.opcode = Some(opcode);
        facts.stack = interpreter.stack.len();
        facts.memory_end = memory_end(opcode, |place| interpreter.stack.peek(place).unwrap_or_default());
        facts.init_code_bytes = (matches!(opcode, CREATE | CREATE2))
            .then(|| interpreter.stack.peek(2).ok().and_then(|size| u64::try_from(size).ok()))
            .flatten();
    }

    fn call(&mut self, _: &mut CTX, _: &mut CallInputs) -> Option<CallOutcome> {
        self.begin();
        None
    }

    fn call_end(&mut self, context: &mut CTX, inputs: &CallInputs, outcome: &mut CallOutcome) {
        if let (Some((_, facts)), InstructionResult::PrecompileError) = (self.open.last_mut(), outcome.result.result) {
            facts.precompile =
                low(inputs.bytecode_address).map(|number| (number, inputs.input.bytes(context), inputs.gas_limit));
        }
        self.end(&outcome.result, false);
    }

    fn create(&mut self, _: &mut CTX, _: &mut CreateInputs) -> Option<CreateOutcome> {
        self.begin();
        None
    }

    fn create_end(&mut self, _: &mut CTX, _: &CreateInputs, outcome: &mut CreateOutcome) {
        self.end(&outcome.result, true);
    }
}

/// The number of an address below 0x200, where precompiles are.
fn low(address: Address) -> Option<u16> {
    let (high, low) = address.split_at(18);
    let number = u16::from_be_bytes([low[0], low[1]]);
    (high.iter().all(|byte| *byte == 0) && number < 0x200).then_some(number)
}

/// The sentence for a halt by its kind alone.
pub fn sentence(reason: &OpHaltReason) -> String {
    match reason {
        OpHaltReason::Base(reason) => words(reason.clone().into(), &Facts::default()).unwrap_or_default(),
        OpHaltReason::FailedDeposit => "failed deposit transaction".into(),
    }
}

/// Whether a [`Witness`] knows more about a halt than [`sentence`].
pub fn needs_witness(reason: &OpHaltReason, is_creation: bool) -> bool {
    let OpHaltReason::Base(reason) = reason else { return false };
    match reason {
        HaltReason::OutOfGas(OutOfGasError::Memory | OutOfGasError::MemoryLimit | OutOfGasError::InvalidOperand) => {
            true
        }
        HaltReason::OutOfGas(_) => is_creation,
        HaltReason::OpcodeNotFound
        | HaltReason::NotActivated
        | HaltReason::StackUnderflow
        | HaltReason::StackOverflow
        | HaltReason::PrecompileError
        | HaltReason::PrecompileErrorWithContext(_)
        | HaltReason::CreateContractSizeLimit
        | HaltReason::CreateInitCodeSizeLimit => true,
        _ => false,
    }
}

fn words(result: InstructionResult, facts: &Facts) -> Option<String> {
    use InstructionResult as Kind;
    let fixed = match result {
        kind if kind.is_ok() || kind == Kind::Revert => return None,
        Kind::OutOfGas if facts.created.as_ref().is_some_and(|code| !code.is_empty()) => {
            "contract creation code storage out of gas"
        }
        Kind::OutOfGas | Kind::MemoryOOG | Kind::MemoryLimitOOG | Kind::InvalidOperandOOG | Kind::PrecompileOOG => {
            memory_words(facts.memory_end)
        }
        Kind::ReentrancySentryOOG => "out of gas: not enough gas for reentrancy sentry",
        Kind::OpcodeNotFound | Kind::NotActivated => {
            return Some(format!("invalid opcode: {}", facts.opcode.map_or("opcode not defined".into(), opcode_name)));
        }
        Kind::InvalidFEOpcode => "invalid opcode: INVALID",
        Kind::InvalidJump => "invalid jump destination",
        Kind::StackUnderflow | Kind::StackOverflow => return Some(stack_words(result, facts)),
        Kind::OutOfOffset => "return data out of bounds",
        Kind::CallNotAllowedInsideStatic | Kind::StateChangeDuringStaticCall => match facts.opcode {
            // op-geth finds these while it computes their gas.
            Some(SSTORE | CALL | SELFDESTRUCT) => "out of gas: write protection",
            _ => "write protection",
        },
        Kind::CreateCollision => "contract address collision",
        Kind::NonceOverflow => "nonce uint64 overflow",
        Kind::OutOfFunds | Kind::OverflowPayment => "insufficient balance for transfer",
        Kind::CallTooDeep => "max call depth exceeded",
        Kind::CreateContractStartingWithEF => "invalid code: must not begin with 0xef",
        Kind::CreateContractSizeLimit => match &facts.created {
            Some(code) => {
                return Some(format!("max code size exceeded: code size {} limit {CODE_BYTES_MAX}", code.len()));
            }
            None => "max code size exceeded",
        },
        Kind::CreateInitCodeSizeLimit => match facts.init_code_bytes {
            Some(bytes) => {
                let size = format!("code size {bytes} limit {INIT_CODE_BYTES_MAX}");
                return Some(format!("out of gas: max initcode size exceeded: {size}"));
            }
            None => "max initcode size exceeded",
        },
        Kind::PrecompileError => match &facts.precompile {
            // op-geth looks at the price before the input, revm the other way round.
            Some((number, input, gas)) if *gas < bls_gas(*number, input.len()) => "out of gas",
            Some((number, input, _)) => precompile_words(*number, input),
            None => "precompiled failed",
        },
        other => return Some(format!("execution failed: {other:?}")),
    };
    Some(fixed.into())
}

/// Where the memory that an operation touches ends, by the places of offset and size on the stack (go-ethereum `memory_table.go`).
fn memory_end(opcode: u8, peek: impl Fn(usize) -> U256) -> Option<U256> {
    let end = |offset: usize, size: U256| if size.is_zero() { size } else { peek(offset).saturating_add(size) };
    Some(match opcode {
        MLOAD | MSTORE => end(0, U256::from(32)),
        MSTORE8 => end(0, U256::ONE),
        KECCAK256 | RETURN | REVERT | LOG0..=LOG4 => end(0, peek(1)),
        CALLDATACOPY | CODECOPY | RETURNDATACOPY => end(0, peek(2)),
        MCOPY => end(0, peek(2)).max(end(1, peek(2))),
        EXTCODECOPY => end(1, peek(3)),
        CREATE | CREATE2 => end(1, peek(2)),
        CALL | CALLCODE => end(3, peek(4)).max(end(5, peek(6))),
        DELEGATECALL | STATICCALL => end(2, peek(3)).max(end(4, peek(5))),
        _ => return None,
    })
}

/// What op-geth says for want of gas; memory beyond what its counters hold has words of its own.
fn memory_words(end: Option<U256>) -> &'static str {
    match end {
        Some(end) if end > U256::from(u64::MAX - 31) => "gas uint64 overflow",
        Some(end) if end > U256::from(MEMORY_BYTES_MAX) => "out of gas: gas uint64 overflow",
        _ => "out of gas",
    }
}

fn stack_words(result: InstructionResult, facts: &Facts) -> String {
    match facts.opcode.and_then(OpCode::new) {
        // revm calls a DUP of too short a stack an overflow.
        Some(opcode) if facts.stack < usize::from(opcode.inputs()) => {
            format!("stack underflow ({} <=> {})", facts.stack, opcode.inputs())
        }
        Some(opcode) => {
            let growth = usize::from(opcode.outputs()).saturating_sub(opcode.inputs().into());
            format!("stack limit reached {} ({})", facts.stack, STACK_LIMIT - growth)
        }
        None if result == InstructionResult::StackUnderflow => "stack underflow".into(),
        None => "stack overflow".into(),
    }
}

/// op-geth's name of an opcode that the rules do not have; it knows some by name.
fn opcode_name(opcode: u8) -> String {
    let name = match opcode {
        0x1e => "CLZ",
        0x4b => "SLOTNUM",
        0xd0 => "DATALOAD",
        0xd1 => "DATALOADN",
        0xd2 => "DATASIZE",
        0xd3 => "DATACOPY",
        0xe0 => "RJUMP",
        0xe1 => "RJUMPI",
        0xe2 => "RJUMPV",
        0xe3 => "CALLF",
        0xe4 => "RETF",
        0xe5 => "JUMPF",
        0xe6 => "DUPN",
        0xe7 => "SWAPN",
        0xe8 => "EXCHANGE",
        0xec => "EOFCREATE",
        0xee => "RETURNCONTRACT",
        0xf7 => "RETURNDATALOAD",
        0xf8 => "EXTCALL",
        0xf9 => "EXTDELEGATECALL",
        0xfb => "EXTSTATICCALL",
        other => return format!("opcode {other:#x} not defined"),
    };
    name.into()
}

/// What is wrong with a precompile's input, as far as its shape tells; a bad point is only named as such.
fn precompile_words(number: u16, input: &[u8]) -> &'static str {
    let length = input.len();
    match number {
        0x06 | 0x07 => "point is not on curve",
        0x08 if !length.is_multiple_of(192) => "bad elliptic curve pairing size",
        0x08 if length > PAIRING_BYTES_MAX => "bad elliptic curve pairing input size",
        0x08 => "point is not on curve",
        0x09 if length == 213 => "invalid final flag",
        0x0a if length == 192 => {
            let mut hash = Sha256::digest(&input[96..144]);
            hash[0] = 1;
            if hash[..] == input[..32] {
                "error verifying kzg proof"
            } else {
                "mismatched versioned hash"
            }
        }
        0x0b..=0x11 => bls_words(number, input),
        0x09 | 0x0a => "invalid input length",
        0x05 => "out of gas", // sizes whose price no gas pays
        _ => "precompiled failed",
    }
}

/// Jovian's bound of a pairing's input; inputs that only an older fork takes never fail for their size.
const PAIRING_BYTES_MAX: usize = 81_984;

/// Price of a BLS12-381 operation on so many bytes, whole items counted (EIP-2537); 0 for other precompiles.
fn bls_gas(number: u16, length: usize) -> u64 {
    match number {
        0x0b => bls::G1_ADD_BASE_GAS_FEE,
        0x0c => msm_required_gas(length / 160, &bls::DISCOUNT_TABLE_G1_MSM, bls::G1_MSM_BASE_GAS_FEE),
        0x0d => bls::G2_ADD_BASE_GAS_FEE,
        0x0e => msm_required_gas(length / 288, &bls::DISCOUNT_TABLE_G2_MSM, bls::G2_MSM_BASE_GAS_FEE),
        0x0f => 37_700 + 32_600 * (length / 384) as u64,
        0x10 => bls::MAP_FP_TO_G1_BASE_GAS_FEE,
        0x11 => bls::MAP_FP2_TO_G2_BASE_GAS_FEE,
        _ => 0,
    }
}

/// EIP-2537: lengths and padding of the items of each operation.
fn bls_words(number: u16, input: &[u8]) -> &'static str {
    // Bytes of one item, and how many of them are field elements of 64 bytes; the operations 0x0c, 0x0e, 0x0f take many items.
    let (item, elements) = match number {
        0x0b => (256, 4),
        0x0c => (160, 2),
        0x0d => (512, 8),
        0x0e => (288, 4),
        0x0f => (384, 6),
        0x10 => (64, 1),
        _ => (128, 2),
    };
    let takes_many = matches!(number, 0x0c | 0x0e | 0x0f);
    if input.is_empty() || !input.len().is_multiple_of(item) || (!takes_many && input.len() != item) {
        return "invalid input length";
    }
    let is_padded = input
        .chunks(item)
        .flat_map(|item| item.chunks(64).take(elements))
        .all(|element| element.iter().take(16).all(|byte| *byte == 0));
    if is_padded {
        "invalid point: not on curve"
    } else {
        "invalid field element top bytes"
    }
}
