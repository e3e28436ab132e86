//! Running transactions on an overlay: environment, pre-block system calls, deposits, user transactions, outcomes.
//!
//! Rules followed: op-revm's OP handler for each transaction; a user transaction's gas limit must fit the block's remaining gas,
//! and its DA footprint the block gas limit (Jovian). A transaction that cannot be applied leaves no trace. Deposits are always
//! included. The EVM is created per call: it is not Send, and its L1 fee parameters must be read after the L1-attributes deposit.

use std::sync::Arc;

use alloy_consensus::Transaction as _;
use alloy_evm::{Evm, EvmEnv, EvmFactory};
use alloy_op_evm::{OpEvmFactory, OpTx, OpTxError};
use alloy_primitives::{Address, Bytes, Log, U256};
use op_revm::{OpHaltReason, OpSpecId, OpTransactionError};
use revm::context::{
    result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction, ResultAndState},
    BlockEnv, CfgEnv,
};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::{Database, DatabaseCommit};

use crate::block::{decode_deposit, Included, OpenBlock};
use crate::chain::Chain;
use crate::error::{CoreError, Result};
use crate::overlay::Overlay;
use crate::transaction::Transaction;

/// Why a transaction failed or was left out: stable code and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable code of the contract.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// What happened to one transaction.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// 1 succeeded, 0 included but reverted or halted, 2 left out.
    pub status: u8,
    /// Gas used; 0 when left out.
    pub gas_used: u64,
    /// Return or revert data.
    pub output: Bytes,
    /// Logs; shared with the receipt.
    pub logs: Arc<Vec<Log>>,
    /// Reason of a status other than 1.
    pub failure: Option<Failure>,
}

/// Results of one run, in input order.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    /// One per transaction tried.
    pub items: Vec<Outcome>,
    /// Gas of the included.
    pub gas_used: u64,
    /// DA footprint of the included.
    pub da_footprint: u64,
    /// Number included.
    pub included: usize,
    /// Logs in the block before the run.
    pub first_log_index: u64,
}

impl Outcomes {
    /// The logs that one of `addresses` emitted, in order: (position of the outcome, index in the block, log).
    pub fn logs_of<'a>(&'a self, addresses: &'a [Address]) -> impl Iterator<Item = (usize, u64, &'a Log)> {
        let mut next = self.first_log_index;
        let numbered = self.items.iter().enumerate().flat_map(move |(position, item)| {
            let first = next;
            next += item.logs.len() as u64;
            (first..).zip(item.logs.iter()).map(move |(index, log)| (position, index, log))
        });
        numbered.filter(|(_, _, log)| addresses.contains(&log.address))
    }
}

/// The EVM rules of a chain.
pub fn cfg_env(chain: &Chain) -> CfgEnv<OpSpecId> {
    CfgEnv::new().with_chain_id(chain.chain_id).with_spec_and_mainnet_gas_params(chain.spec)
}

/// The EVM's view of the open block.
pub fn block_env(block: &OpenBlock) -> BlockEnv {
    BlockEnv {
        number: U256::from(block.number),
        beneficiary: block.attributes.fee_recipient,
        timestamp: U256::from(block.attributes.timestamp),
        gas_limit: block.attributes.gas_limit,
        basefee: block.base_fee,
        difficulty: U256::ZERO,
        prevrandao: Some(block.attributes.prev_randao),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice { excess_blob_gas: 0, blob_gasprice: 1 }),
        slot_num: 0,
    }
}

/// Both together.
pub fn evm_env(chain: &Chain, block: &OpenBlock) -> EvmEnv<OpSpecId> {
    EvmEnv { cfg_env: cfg_env(chain), block_env: block_env(block) }
}

/// Pre-block system calls (EIP-2935 from Isthmus on, EIP-4788), then the deposits.
///
/// # Errors
/// `deposit_malformed`, `deposit_gas_exceeds_block`.
pub fn begin_block(chain: &Chain, overlay: &mut Overlay, block: &mut OpenBlock) -> Result<Outcomes> {
    let attributes = block.attributes.clone();
    let mut system_calls = Vec::with_capacity(2);
    if chain.has(OpSpecId::ISTHMUS) {
        system_calls.push((alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS, block.parent_hash));
    }
    system_calls.push((alloy_eips::eip4788::BEACON_ROOTS_ADDRESS, attributes.parent_beacon_block_root));
    for (contract, word) in system_calls {
        let mut evm = OpEvmFactory::<OpTx>::default().create_evm(&mut *overlay, evm_env(chain, block));
        let result = evm
            .transact_system_call(alloy_eips::eip4788::SYSTEM_ADDRESS, contract, word.0.into())
            .map_err(|error| CoreError::internal(format!("system call: {error}")))?;
        drop(evm);
        overlay.commit(result.state);
    }
    let mut outcomes = Outcomes::default();
    for raw in &attributes.deposits {
        let deposit = Arc::new(decode_deposit(raw)?);
        let left = attributes.gas_limit - block.gas_used;
        if deposit.envelope.gas_limit() > left {
            return Err(CoreError::new(
                "deposit_gas_exceeds_block",
                format!(
                    "deposit {} needs {} gas, the block has {left} left",
                    deposit.hash,
                    deposit.envelope.gas_limit()
                ),
            ));
        }
        let Ok(sender) = overlay.basic(deposit.sender);
        let nonce = sender.map_or(0, |account| account.nonce);
        // A fresh EVM per deposit: L1 fee parameters are cached per block and must not outlive the L1-attributes deposit.
        let mut evm = OpEvmFactory::<OpTx>::default().create_evm(&mut *overlay, evm_env(chain, block));
        let result = evm
            .transact_raw(deposit.env.clone())
            .map_err(|error| CoreError::internal(format!("deposit {}: {error}", deposit.hash)))?;
        drop(evm);
        include(block, &mut outcomes, &deposit, &result.result, Some(nonce), 0);
        overlay.commit(result.state);
    }
    Ok(outcomes)
}

/// Appends user transactions to the open block; `stop` ends after the first that cannot be applied.
pub fn run_transactions(
    chain: &Chain,
    overlay: &mut Overlay,
    block: &mut OpenBlock,
    transactions: &[Arc<Transaction>],
    stop: bool,
) -> Result<Outcomes> {
    let items = Vec::with_capacity(transactions.len());
    let mut outcomes = Outcomes { items, first_log_index: block.log_count, ..Outcomes::default() };
    let mut evm = OpEvmFactory::<OpTx>::default().create_evm(&mut *overlay, evm_env(chain, block));
    for transaction in transactions {
        match run_one(&mut evm, block, transaction)? {
            Ok((result, da_footprint)) => {
                include(block, &mut outcomes, transaction, &result.result, None, da_footprint);
                evm.db_mut().commit(result.state);
            }
            Err(failure) => {
                outcomes.items.push(Outcome {
                    status: 2,
                    gas_used: 0,
                    output: Bytes::new(),
                    logs: Arc::default(),
                    failure: Some(failure),
                });
                if stop {
                    break;
                }
            }
        }
    }
    Ok(outcomes)
}

type Executed = (ResultAndState<OpHaltReason>, u64);

fn run_one<DB>(
    evm: &mut impl Evm<DB = DB, Tx = OpTx, Error = EVMError<std::convert::Infallible, OpTxError>, HaltReason = OpHaltReason>,
    block: &OpenBlock,
    transaction: &Transaction,
) -> Result<std::result::Result<Executed, Failure>> {
    let gas_limit = block.attributes.gas_limit;
    let left = gas_limit - block.gas_used;
    let wanted = transaction.envelope.gas_limit();
    if wanted > left {
        let message = format!("the gas limit {wanted} exceeds the {left} gas left in the block");
        return Ok(Err(Failure { code: "block_gas_limit_reached", message }));
    }
    let da_footprint = transaction.da_size * block.da_footprint_scalar;
    let da_left = gas_limit.saturating_sub(block.da_footprint);
    if da_footprint > da_left {
        let message = format!("the DA footprint {da_footprint} exceeds the {da_left} left in the block");
        return Ok(Err(Failure { code: "block_da_limit_reached", message }));
    }
    match evm.transact_raw(transaction.env.clone()) {
        Ok(result) => Ok(Ok((result, da_footprint))),
        Err(EVMError::Transaction(error)) => Ok(Err(not_applicable(&error.0))),
        Err(error) => Err(CoreError::internal(format!("transaction {}: {error}", transaction.hash))),
    }
}

fn include(
    block: &mut OpenBlock,
    outcomes: &mut Outcomes,
    transaction: &Arc<Transaction>,
    result: &ExecutionResult<OpHaltReason>,
    deposit_nonce: Option<u64>,
    da_footprint: u64,
) {
    let gas_used = result.tx_gas_used();
    let success = result.is_success();
    let logs = Arc::new(if success { result.logs().to_vec() } else { Vec::new() });
    block.push(
        Included {
            transaction: transaction.clone(),
            success,
            gas_used,
            cumulative_gas_used: block.gas_used + gas_used,
            logs: logs.clone(),
            first_log_index: block.log_count,
            deposit_nonce,
        },
        da_footprint,
    );
    outcomes.gas_used += gas_used;
    outcomes.da_footprint += da_footprint;
    outcomes.included += 1;
    outcomes.items.push(Outcome {
        status: u8::from(success),
        gas_used,
        output: result.output().cloned().unwrap_or_default(),
        logs,
        failure: execution_failure(result),
    });
}

/// Code and sentence of a transaction that was included but did not succeed.
pub fn execution_failure(result: &ExecutionResult<OpHaltReason>) -> Option<Failure> {
    let failure = |code, message: String| Some(Failure { code, message });
    match result {
        ExecutionResult::Success { .. } => None,
        ExecutionResult::Revert { output, .. } => failure("reverted", revert_sentence(output)),
        ExecutionResult::Halt { reason, .. } => match reason {
            OpHaltReason::Base(HaltReason::OutOfGas(kind)) => failure("out_of_gas", format!("out of gas ({kind:?})")),
            OpHaltReason::Base(
                kind @ (HaltReason::OpcodeNotFound | HaltReason::InvalidFEOpcode | HaltReason::NotActivated),
            ) => failure("invalid_opcode", format!("invalid opcode ({kind:?})")),
            other => failure("halted", format!("halted: {other:?}")),
        },
    }
}

/// "execution reverted", with the reason when the data is a Solidity `Error(string)` or `Panic(uint256)`.
pub fn revert_sentence(output: &[u8]) -> String {
    match revert_reason(output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".into(),
    }
}

/// The reason a Solidity revert states, worded as go-ethereum does.
pub fn revert_reason(output: &[u8]) -> Option<String> {
    let (selector, data) = output.split_first_chunk::<4>()?;
    match u32::from_be_bytes(*selector) {
        0x08c3_79a0 => {
            let length = usize::try_from(U256::from_be_slice(data.get(32..64)?)).ok()?;
            let text = data.get(64..)?.get(..length)?;
            String::from_utf8(text.to_vec()).ok()
        }
        0x4e48_7b71 => Some(panic_sentence(U256::from_be_slice(data.get(..32)?))),
        _ => None,
    }
}

/// Solidity's panic codes, worded as in go-ethereum's `accounts/abi`.
fn panic_sentence(code: U256) -> String {
    let known = match u64::try_from(code).unwrap_or(u64::MAX) {
        0x00 => "generic panic",
        0x01 => "assert(false)",
        0x11 => "arithmetic underflow or overflow",
        0x12 => "division or modulo by zero",
        0x21 => "enum overflow",
        0x22 => "invalid encoded storage byte array accessed",
        0x31 => "out-of-bounds array access; popping on an empty array",
        0x32 => "out-of-bounds access of an array or bytesN",
        0x41 => "out of memory",
        0x51 => "uninitialized function",
        _ => return format!("unknown panic code: {code:#x}"),
    };
    known.into()
}

/// Code and sentence of a transaction that cannot be applied to the state.
pub fn not_applicable(error: &OpTransactionError) -> Failure {
    let OpTransactionError::Base(base) = error else {
        return Failure { code: "transaction_not_applicable", message: error.to_string() };
    };
    let (code, message) = match base {
        InvalidTransaction::NonceTooLow { tx, state } => {
            ("nonce_too_low", format!("nonce too low: transaction has {tx}, the account is at {state}"))
        }
        InvalidTransaction::NonceTooHigh { tx, state } => {
            ("nonce_too_high", format!("nonce too high: transaction has {tx}, the account is at {state}"))
        }
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => (
            "insufficient_funds",
            format!("insufficient funds for gas * price + value, L1 and operator fee: have {balance}, want {fee}"),
        ),
        InvalidTransaction::OverflowPaymentInTransaction => {
            ("insufficient_funds", "the transaction's cost exceeds 256 bits".into())
        }
        InvalidTransaction::GasPriceLessThanBasefee => {
            ("fee_cap_too_low", "max fee per gas is below the block's base fee".into())
        }
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit }
        | InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor: initial_gas, gas_limit } => (
            "intrinsic_gas_too_low",
            format!("the gas limit {gas_limit} is below the {initial_gas} the transaction needs before execution"),
        ),
        InvalidTransaction::RejectCallerWithCode => {
            ("sender_not_eoa", "the sender has code that is not an EIP-7702 delegation".into())
        }
        other => ("transaction_not_applicable", other.to_string()),
    };
    Failure { code, message }
}
