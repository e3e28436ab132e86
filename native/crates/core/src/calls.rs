//! Calls that change nothing: `eth_call` with state and block overrides, as op-geth runs it.
//!
//! Rules taken from op-geth v1.101702.3 `internal/ethapi` and `core/state_transition.go`: nonce, sender code and block gas limit
//! are not checked; without any fee field the base fee is taken as zero and nothing is charged; the L1 and operator fees are never
//! charged to a call. Messages are worded as op-geth words them, because clients match on them.

use std::borrow::BorrowMut;

use alloy_consensus::Header;
use alloy_evm::precompiles::PrecompilesMap;
use alloy_evm::{Evm, EvmEnv, EvmFactory};
use alloy_op_evm::{OpEvmContext, OpEvmFactory, OpTx};
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_rpc_types_eth::TransactionRequest;
use op_revm::{OpHaltReason, OpSpecId, OpTransaction, OpTransactionError};
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction, ResultAndState};
use revm::context::{either::Either, BlockEnv, CfgEnv, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::inspector::NoOpInspector;
use revm::Inspector;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::block::OpenBlock;
use crate::chain::Chain;
use crate::error::{CoreError, Result};
use crate::execute::{block_env, cfg_env, revert_sentence};
use crate::gauge::{self, TOO_LARGE};
use crate::halts::{self, Witness, INIT_CODE_BYTES_MAX};
use crate::moment::Moment;
use crate::overlay::Overlay;
use crate::overrides::{BlockOverrides, PrecompileMoves, StateOverrides};
use crate::rollup::{Rollup, PENDING};

/// Gas of a call when neither the request nor the caller bounds it.
const GAS_UNBOUNDED: u64 = u64::MAX / 2;

/// Result of a call.
#[derive(Debug, Clone)]
pub struct CallResult {
    /// True when it returned.
    pub success: bool,
    /// Gas used after refunds.
    pub gas_used: u64,
    /// Return or revert data.
    pub output: Bytes,
    /// op-geth's words for the failure.
    pub error: Option<String>,
}

/// A call about to run: the state it sees, the block it is in, the transaction it stands for.
#[derive(Debug)]
pub struct Call<State = Overlay> {
    /// State with overrides, or a session's own; caches what was read between runs and is never written.
    pub overlay: State,
    /// Rules and block.
    pub env: EvmEnv<OpSpecId>,
    /// The transaction.
    pub transaction: OpTx,
    /// Gas the request asked for; 0 when it did not say.
    pub gas_asked: u64,
    precompile_moves: PrecompileMoves,
}

/// What a call sees otherwise than the chain has it.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Accounts.
    pub state: StateOverrides,
    /// The block.
    pub block: BlockOverrides,
}

impl Overrides {
    /// Reads both from JSON.
    ///
    /// # Errors
    /// `state_overrides_malformed`, `block_overrides_malformed`.
    pub fn parse(state: Option<&[u8]>, block: Option<&[u8]>) -> Result<Self> {
        Ok(Self {
            state: state.map(StateOverrides::parse).transpose()?.unwrap_or_default(),
            block: block.map(BlockOverrides::parse).transpose()?.unwrap_or_default(),
        })
    }
}

fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(CoreError::new("invalid_params", message))
}

/// The block that a call at `at` is in, with the state it starts from.
///
/// # Errors
/// `state_unavailable`.
pub fn environment(moment: &Moment<'_>, at: i64) -> Result<(Overlay, BlockEnv)> {
    let overlay = moment.overlay(at, true)?;
    let decided = &moment.decided;
    let block = match (&decided.view.open, at) {
        (Some((open, _)), PENDING) => block_env(open),
        (None, PENDING) => header_env(&decided.view.head.header),
        (_, number) => {
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            let sealed =
                decided.recent(number).ok_or_else(|| CoreError::internal("a kept state without its header"))?;
            header_env(&sealed.header)
        }
    };
    debug_assert_eq!(moment.rollup.chain.chain_id, decided.view.chain.chain_id);
    Ok((overlay, block))
}

fn header_env(header: &Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or(0),
        difficulty: U256::ZERO,
        prevrandao: Some(header.mix_hash),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice { excess_blob_gas: 0, blob_gasprice: 1 }),
        slot_num: 0,
    }
}

/// Rules of a call on `chain`; `free` when it pays nothing.
fn call_cfg(chain: &Chain, free: bool) -> CfgEnv<OpSpecId> {
    let mut cfg = cfg_env(chain);
    cfg.disable_nonce_check = true;
    cfg.disable_eip3607 = true;
    cfg.disable_block_gas_limit = true;
    cfg.disable_base_fee = free;
    cfg.disable_fee_charge = free;
    cfg
}

impl Call {
    /// Prepares a call from its JSON request, overrides and gas cap (0 means unbounded).
    ///
    /// # Errors
    /// `call_malformed`, `override_refused`, `invalid_params`, `state_unavailable`.
    pub fn prepare(moment: &Moment<'_>, request: &[u8], at: i64, overrides: Overrides, gas_cap: u64) -> Result<Self> {
        let request: TransactionRequest =
            read("the call object", request).map_err(|problem| CoreError::new("call_malformed", problem))?;
        let (mut overlay, mut block) = environment(moment, at)?;
        overrides.block.apply(&mut block)?;
        let precompile_moves = overrides.state.apply(&mut overlay)?;
        let gas_asked = request.gas.unwrap_or(0);
        let transaction = transaction_env(moment.rollup.chain.chain_id, request, gas_cap)?;
        let free = transaction.base.gas_price == 0;
        if free {
            block.basefee = 0;
        }
        let env = EvmEnv { cfg_env: call_cfg(&moment.rollup.chain, free), block_env: block };
        Ok(Self { overlay, env, transaction, gas_asked, precompile_moves })
    }
}

impl<'o> Call<&'o mut Overlay> {
    /// A call without value and fees in the open block, on a session's own overlay.
    ///
    /// # Errors
    /// None for these fields; what cannot be run is refused by [`Call::run`].
    pub fn in_session(
        chain: &Chain,
        overlay: &'o mut Overlay,
        block: &OpenBlock,
        (sender, to): (Address, Address),
        data: Bytes,
        gas: u64,
    ) -> Result<Self> {
        let request = TransactionRequest {
            from: Some(sender),
            to: Some(TxKind::Call(to)),
            gas: Some(gas),
            input: data.into(),
            ..Default::default()
        };
        let transaction = transaction_env(chain.chain_id, request, gas)?;
        let block_env = BlockEnv { basefee: 0, ..block_env(block) };
        let env = EvmEnv { cfg_env: call_cfg(chain, true), block_env };
        Ok(Self { overlay, env, transaction, gas_asked: gas, precompile_moves: PrecompileMoves::default() })
    }
}

impl<State: BorrowMut<Overlay>> Call<State> {
    /// Runs the call with this gas limit. The outer error is a refusal before execution, worded as op-geth does.
    ///
    /// # Errors
    /// `insufficient_funds`, `intrinsic_gas_too_low`, `fee_cap_too_low`, `transaction_not_applicable`.
    pub fn run(&mut self, gas_limit: u64) -> Result<ResultAndState<OpHaltReason>> {
        self.run_inspected(gas_limit, &mut NoOpInspector {})
    }

    /// Runs the call under an inspector.
    ///
    /// # Errors
    /// As [`Call::run`].
    pub fn run_inspected<'a, I>(&'a mut self, gas_limit: u64, inspector: &mut I) -> Result<ResultAndState<OpHaltReason>>
    where
        I: Inspector<OpEvmContext<&'a mut Overlay>>,
    {
        self.check_funds(gas_limit)?;
        let Self { overlay, env, transaction, precompile_moves, .. } = self;
        let mut request = transaction.clone();
        request.0.base.gas_limit = gas_limit;
        let overlay = overlay.borrow_mut();
        let mut evm = OpEvmFactory::<OpTx>::default().create_evm_with_inspector(overlay, env.clone(), inspector);
        move_precompiles(evm.precompiles_mut(), precompile_moves)?;
        evm.transact_raw(request).map_err(|error| match error {
            EVMError::Transaction(error) => refusal(&error.0, gas_limit, transaction, env.block_env.basefee),
            EVMError::Custom(text) if text == TOO_LARGE => gauge::too_large(),
            other => CoreError::internal(other.to_string()),
        })
    }

    /// op-geth's words for a halt of a run with this gas limit; runs once more where the kind of halt does not say enough.
    ///
    /// # Errors
    /// As [`Call::run`].
    pub fn halt_sentence(&mut self, gas_limit: u64, reason: &OpHaltReason) -> Result<String> {
        if !halts::needs_witness(reason, self.transaction.0.base.kind.is_create()) {
            return Ok(halts::sentence(reason));
        }
        let mut witness = Witness::default();
        self.run_inspected(gas_limit, &mut witness)?;
        Ok(witness.outermost().map_or_else(|| halts::sentence(reason), str::to_string))
    }

    /// op-geth's balance check: value + gas * fee cap must be there even when nothing is charged.
    fn check_funds(&mut self, gas_limit: u64) -> Result<()> {
        let base = &self.transaction.0.base;
        let gas = U256::from(gas_limit) * U256::from(base.gas_price);
        let sender = base.caller;
        let Some(want) = base.value.checked_add(gas) else {
            return Err(CoreError::new(
                "insufficient_funds",
                format!("err: insufficient funds for gas * price + value: address {sender} required balance exceeds 256 bits (supplied gas {gas_limit})"),
            ));
        };
        let have = self.overlay.borrow_mut().account(sender).map_or(U256::ZERO, |account| account.balance);
        if have < want {
            return Err(CoreError::new(
                "insufficient_funds",
                format!("err: insufficient funds for gas * price + value: address {sender} have {have} want {want} (supplied gas {gas_limit})"),
            ));
        }
        Ok(())
    }
}

/// Parses what a caller gave.
///
/// # Errors
/// A sentence that names the field which cannot be read; it holds no text of the parser.
pub fn read<T: DeserializeOwned>(what: &str, json: &[u8]) -> std::result::Result<T, String> {
    serde_json::from_slice(json).map_err(|_| {
        let fields: serde_json::Map<String, Value> = serde_json::from_slice(json).unwrap_or_default();
        let unreadable = |(key, value): &(String, Value)| {
            let alone = Value::Object(serde_json::Map::from_iter([(key.clone(), value.clone())]));
            serde_json::from_value::<T>(alone).is_err()
        };
        match fields.into_iter().find(unreadable) {
            Some((key, _)) => format!("the field {key:?} of {what} cannot be read"),
            None => format!("{what} cannot be read"),
        }
    })
}

/// Takes overridden accounts out of the precompiles and puts moved ones where they go.
fn move_precompiles(precompiles: &mut PrecompilesMap, moves: &PrecompileMoves) -> Result<()> {
    for (from, to) in moves {
        let is_precompile = precompiles.get(from).is_some();
        let mut taken = None;
        if is_precompile {
            precompiles.apply_precompile(from, |precompile| {
                taken = precompile;
                None
            });
        }
        match to {
            Some(_) if !is_precompile => {
                return Err(CoreError::new("override_refused", format!("account {from} is not a precompile")));
            }
            Some(to) => precompiles.apply_precompile(to, |_| taken),
            None => {}
        }
    }
    Ok(())
}

fn transaction_env(chain_id: u64, request: TransactionRequest, gas_cap: u64) -> Result<OpTx> {
    if request.blob_versioned_hashes.is_some() || request.sidecar.is_some() {
        return invalid("blob transactions do not exist on OP Stack rollups");
    }
    if request.gas_price.is_some() && (request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some())
    {
        return invalid("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified");
    }
    if let Some(id) = request.chain_id.filter(|id| *id != chain_id) {
        return invalid(format!("chainId does not match node's (have={id}, want={chain_id})"));
    }
    let cap = request.gas_price.or(request.max_fee_per_gas).unwrap_or(0);
    let tip = request.gas_price.or(request.max_priority_fee_per_gas).unwrap_or(0);
    if tip > cap {
        return invalid(format!(
            "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: {tip}, maxFeePerGas: {cap}"
        ));
    }
    let bound = if gas_cap == 0 { GAS_UNBOUNDED } else { gas_cap };
    let authorization_list = request.authorization_list.unwrap_or_default();
    let data = request
        .input
        .try_into_unique_input()
        .or_else(|_| {
            invalid(
                "both \"data\" and \"input\" are set and not equal; please use \"input\" to pass transaction call data",
            )
        })?
        .unwrap_or_default();
    let base = TxEnv {
        tx_type: if authorization_list.is_empty() { 2 } else { 4 },
        caller: request.from.unwrap_or_default(),
        gas_limit: request.gas.map_or(bound, |gas| gas.min(bound)),
        gas_price: cap,
        gas_priority_fee: Some(tip),
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data,
        nonce: 0,
        chain_id: Some(chain_id),
        access_list: request.access_list.unwrap_or_default(),
        authorization_list: authorization_list.into_iter().map(Either::Left).collect(),
        ..Default::default()
    };
    // Empty envelope: op-revm charges no L1 or operator fee for it.
    Ok(OpTx(OpTransaction { base, enveloped_tx: Some(Bytes::new()), deposit: Default::default() }))
}

/// A refusal before execution in op-geth's words (`core/error.go`).
fn refusal(error: &OpTransactionError, gas_limit: u64, transaction: &OpTx, base_fee: u64) -> CoreError {
    let sender: Address = transaction.0.base.caller;
    let (code, message) = match error {
        OpTransactionError::Base(InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit }) => {
            ("intrinsic_gas_too_low", format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}"))
        }
        OpTransactionError::Base(InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit }) => (
            "intrinsic_gas_too_low",
            format!("insufficient gas for floor data gas cost: have {gas_limit}, want {gas_floor}"),
        ),
        OpTransactionError::Base(InvalidTransaction::GasPriceLessThanBasefee) => {
            let cap = transaction.0.base.gas_price;
            (
                "fee_cap_too_low",
                format!("max fee per gas less than block base fee: address {sender}, maxFeePerGas: {cap}, baseFee: {base_fee}"),
            )
        }
        OpTransactionError::Base(InvalidTransaction::CreateInitCodeSizeLimit) => {
            let size = transaction.0.base.data.len();
            ("init_code_too_large", format!("max initcode size exceeded: code size {size} limit {INIT_CODE_BYTES_MAX}"))
        }
        other => ("transaction_not_applicable", other.to_string()),
    };
    CoreError::new(code, format!("err: {message} (supplied gas {gas_limit})"))
}

/// Turns the result of a run with this gas limit into what callers see.
///
/// # Errors
/// Those of [`Call::run`].
pub fn call_result<State: BorrowMut<Overlay>>(
    call: &mut Call<State>,
    gas_limit: u64,
    result: &ExecutionResult<OpHaltReason>,
) -> Result<CallResult> {
    let output = result.output().cloned().unwrap_or_default();
    let error = match result {
        ExecutionResult::Success { .. } => None,
        ExecutionResult::Revert { output, .. } => Some(revert_sentence(output)),
        ExecutionResult::Halt { reason, .. } => Some(call.halt_sentence(gas_limit, reason)?),
    };
    Ok(CallResult { success: result.is_success(), gas_used: result.tx_gas_used(), output, error })
}

/// `eth_call`.
///
/// # Errors
/// Those of [`Call::prepare`] and [`Call::run`].
pub fn call(
    rollup: &Rollup,
    request: &[u8],
    at: i64,
    overrides: Option<&[u8]>,
    block_overrides: Option<&[u8]>,
    gas_cap: u64,
) -> Result<CallResult> {
    let overrides = Overrides::parse(overrides, block_overrides)?;
    rollup.read(|moment| {
        let mut call = Call::prepare(moment, request, at, overrides.clone(), gas_cap)?;
        let gas = call.transaction.0.base.gas_limit;
        let result = call.run(gas)?.result;
        call_result(&mut call, gas, &result)
    })
}
