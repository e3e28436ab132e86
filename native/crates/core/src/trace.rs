//! Tracers: `callTracer` and `prestateTracer` on calls and on transactions of blocks whose parent state is kept.
//!
//! A transaction is traced by executing its block again from the parent's state up to it. Struct logs are refused: their size is
//! unbounded, and the two tracers here answer what explorers and debuggers ask; theirs is bounded ([`crate::gauge`]). `callTracer` equals op-geth's answer (compared on random
//! blocks) but for what it says of a bad point given to a precompile; `prestateTracer` also lists the fee vaults that a transaction pays into and leaves out `codeHash`.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_evm::{Evm, EvmFactory};
use alloy_op_evm::{OpEvmFactory, OpTx};
use alloy_primitives::{Address, B256};
use alloy_rpc_types_trace::geth::{
    CallConfig, GethDebugBuiltInTracerType, GethDebugTracerType, GethDebugTracingOptions, PreStateConfig,
};
use op_revm::OpHaltReason;
use revm::context::result::{EVMError, ExecutionResult, ResultAndState};
use revm::interpreter::InstructionResult;
use revm_inspectors::tracing::{TracingInspector, TracingInspectorConfig};
use serde_json::Value;

use crate::block::{Attributes, Included, OpenBlock};
use crate::calls::{read, Call, Overrides};
use crate::error::{CoreError, Result};
use crate::execute::{begin_block, evm_env, run_transactions};
use crate::gauge::{self, Gauge, TOO_LARGE, TRACE_BYTES_MAX};
use crate::halts::Witness;
use crate::json::Json;
use crate::moment::Moment;
use crate::overlay::Overlay;
use crate::overrides::{BlockOverrides, StateOverrides};
use crate::rollup::{AnyBlock, Rollup, PENDING};

/// The inspector of every trace: its bound, what happened, and op-geth's words for what failed.
type Watch = (Gauge, (TracingInspector, Witness));

fn malformed(problem: String) -> CoreError {
    CoreError::new("trace_options_malformed", problem)
}

enum Tracer {
    Calls(CallConfig),
    Prestate(PreStateConfig),
}

impl Tracer {
    fn parse(options: &[u8]) -> Result<Self> {
        let unreadable = |_| malformed("the field \"tracerConfig\" of the trace options cannot be read".into());
        let options: GethDebugTracingOptions = if options.is_empty() {
            GethDebugTracingOptions::default()
        } else {
            read("the trace options", options).map_err(malformed)?
        };
        let config = options.tracer_config;
        match options.tracer {
            None | Some(GethDebugTracerType::BuiltInTracer(GethDebugBuiltInTracerType::CallTracer)) => {
                let config =
                    if config.is_null() { CallConfig::default() } else { config.from_value().map_err(unreadable)? };
                Ok(Self::Calls(config))
            }
            Some(GethDebugTracerType::BuiltInTracer(GethDebugBuiltInTracerType::PreStateTracer)) => {
                let config = if config.is_null() {
                    PreStateConfig::default()
                } else {
                    config.from_value().map_err(unreadable)?
                };
                Ok(Self::Prestate(config))
            }
            Some(other) => Err(CoreError::new(
                "tracer_unsupported",
                format!("tracer {other:?} is not supported; use callTracer or prestateTracer"),
            )),
        }
    }

    fn watch(&self) -> Watch {
        let config = match self {
            Self::Calls(config) => TracingInspectorConfig::from_geth_call_config(config),
            Self::Prestate(config) => TracingInspectorConfig::from_geth_prestate_config(config),
        };
        (Gauge::default(), (TracingInspector::new(config), Witness::default()))
    }

    fn finish(
        &self,
        (_, (inspector, witness)): Watch,
        result: &ResultAndState<OpHaltReason>,
        gas_limit: u64,
        before: &Overlay,
    ) -> Result<Vec<u8>> {
        let gas_used = result.result.tx_gas_used();
        let is_failed_deposit =
            matches!(result.result, ExecutionResult::Halt { reason: OpHaltReason::FailedDeposit, .. });
        let first = inspector.traces().nodes().first().and_then(|node| node.trace.status);
        let never_began = matches!(first, None | Some(InstructionResult::OutOfFunds));
        if let (Self::Calls(_), true, true) = (self, is_failed_deposit, never_began) {
            return Ok(failed_deposit_json(gas_used));
        }
        let builder = inspector.with_transaction_gas_limit(gas_limit).into_geth_builder();
        let json = match self {
            Self::Calls(config) => {
                let mut frame = builder.geth_call_traces(*config, gas_used);
                witness.reword(&mut frame);
                if config.only_top_call.unwrap_or_default() {
                    frame.calls.clear(); // a selfdestruct is listed among them
                }
                serde_json::to_vec(&frame)
            }
            Self::Prestate(config) => {
                check_codes(result, config, before)?;
                let Ok(frame) = builder.geth_prestate_traces(result, config, before);
                serde_json::to_vec(&frame)
            }
        };
        json.map_err(|error| CoreError::internal(format!("a trace could not be written: {error}")))
    }
}

/// Codes of touched accounts are bounded as frames are: touching one costs little gas, and each is listed in full.
fn check_codes(result: &ResultAndState<OpHaltReason>, config: &PreStateConfig, before: &Overlay) -> Result<()> {
    if !config.code_enabled() {
        return Ok(());
    }
    let codes = result.state.values().map(|account| before.codes().bytes(account.info.code_hash).len());
    if codes.sum::<usize>() > TRACE_BYTES_MAX {
        return Err(gauge::too_large());
    }
    Ok(())
}

/// What op-geth's callTracer answers for a deposit that failed before its first frame (no balance, too little gas).
fn failed_deposit_json(gas_used: u64) -> Vec<u8> {
    let mut json = Json::default();
    json.object(|object| {
        object.data("from", Address::ZERO);
        object.quantity("gas", 0);
        object.quantity("gasUsed", gas_used);
        object.data("input", []);
        object.key("error").text("failed deposit transaction");
        object.key("type").text("STOP");
    });
    json.into_bytes()
}

/// The overrides among the options of `debug_traceCall`.
fn overrides_of(options: &[u8]) -> Result<Overrides> {
    let options: serde_json::Map<String, Value> = match options {
        [] => serde_json::Map::default(),
        options => read("the trace options", options).map_err(malformed)?,
    };
    let named = |name: &str| options.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    if named("txIndex").is_some_and(|value| !value.is_null()) {
        return Err(CoreError::new("tracer_unsupported", "the trace option \"txIndex\" is not supported"));
    }
    let state = named("stateOverrides").map(StateOverrides::read).transpose();
    let block = named("blockOverrides").map(BlockOverrides::read).transpose();
    Ok(Overrides {
        state: state
            .map_err(|problem| malformed(format!("trace options: stateOverrides: {problem}")))?
            .unwrap_or_default(),
        block: block
            .map_err(|problem| malformed(format!("trace options: blockOverrides: {problem}")))?
            .unwrap_or_default(),
    })
}

/// `debug_traceCall`; its options may hold overrides of state and block.
///
/// # Errors
/// `trace_options_malformed`, `tracer_unsupported` and those of a call.
pub fn trace_call_json(rollup: &Rollup, request: &[u8], at: i64, options: &[u8], gas_cap: u64) -> Result<Vec<u8>> {
    let tracer = Tracer::parse(options)?;
    let overrides = overrides_of(options)?;
    rollup.read(|moment| {
        let mut call = Call::prepare(moment, request, at, overrides.clone(), gas_cap)?;
        let gas = call.transaction.0.base.gas_limit;
        let mut watch = tracer.watch();
        let result = call.run_inspected(gas, &mut watch)?;
        tracer.finish(watch, &result, gas, &call.overlay)
    })
}

/// `debug_traceTransaction`; None when the transaction is unknown.
///
/// # Errors
/// `trace_options_malformed`, `tracer_unsupported`, `state_unavailable`, store errors.
pub fn trace_transaction_json(rollup: &Rollup, hash: B256, options: &[u8]) -> Result<Option<Vec<u8>>> {
    let tracer = Tracer::parse(options)?;
    rollup.read(|moment| trace_transaction(moment, hash, &tracer))
}

fn trace_transaction(moment: &Moment<'_>, hash: B256, tracer: &Tracer) -> Result<Option<Vec<u8>>> {
    let (rollup, decided) = (moment.rollup, &moment.decided);
    let Some((number, index)) = rollup.location(decided, hash)? else { return Ok(None) };
    let is_open = decided.view.open.as_ref().is_some_and(|(open, _)| open.number == number);
    let at = if is_open { PENDING } else { number as i64 };
    let Some(block) = rollup.block(decided, at)? else { return Ok(None) };
    let items: Vec<&Included> = block.items().take(index + 1).collect();
    let Some((target, before)) = items.split_last() else { return Ok(None) };
    let (mut overlay, open) = replay(moment, &block, before, target)?;
    let mut watch = tracer.watch();
    let env = evm_env(&rollup.chain, &open);
    let mut evm = OpEvmFactory::<OpTx>::default().create_evm_with_inspector(&mut overlay, env, &mut watch);
    let result = evm.transact_raw(target.transaction.env.clone()).map_err(|error| match error {
        EVMError::Custom(text) if text == TOO_LARGE => gauge::too_large(),
        error => CoreError::internal(format!("a decided transaction could not be applied again: {error}")),
    })?;
    drop(evm);
    let gas_limit = target.transaction.env.0.base.gas_limit;
    tracer.finish(watch, &result, gas_limit, &overlay).map(Some)
}

/// The state just before `target`: the parent's state, the system calls and everything before it executed again.
fn replay(
    moment: &Moment<'_>,
    block: &AnyBlock,
    before: &[&Included],
    target: &Included,
) -> Result<(Overlay, OpenBlock)> {
    let (rollup, decided) = (moment.rollup, &moment.decided);
    let header = block.header();
    let parent_number =
        header.number.checked_sub(1).ok_or_else(|| CoreError::internal("genesis has no transactions"))?;
    let mut overlay = moment.overlay(parent_number as i64, false)?;
    let (parent, parent_hash) = rollup
        .header(decided, parent_number)?
        .ok_or_else(|| CoreError::new("store_corrupt", format!("block {parent_number} is missing from the store")))?;
    let first: Vec<_> = before.iter().copied().chain([target]).filter(|item| item.is_deposit()).collect();
    let last_deposits = if target.is_deposit() { &first[..first.len() - 1] } else { &first[..] };
    let deposits = first.iter().map(|item| item.transaction.raw.clone()).collect();
    let attributes = Arc::new(attributes_of(&header, deposits));
    let mut open = OpenBlock::begin(&rollup.chain, &parent, parent_hash, attributes.clone())?;
    open.attributes = Arc::new(Attributes {
        deposits: last_deposits.iter().map(|item| item.transaction.raw.clone()).collect(),
        ..Attributes::clone(&attributes)
    });
    begin_block(&rollup.chain, &mut overlay, &mut open)?;
    let users: Vec<_> = before.iter().filter(|item| !item.is_deposit()).map(|item| item.transaction.clone()).collect();
    let outcomes = run_transactions(&rollup.chain, &mut overlay, &mut open, &users, true)?;
    if outcomes.included != users.len() {
        return Err(CoreError::internal("a decided block does not execute again as it was decided"));
    }
    Ok((overlay, open))
}

/// The attributes that a header records.
pub fn attributes_of(header: &Header, deposits: Vec<alloy_primitives::Bytes>) -> Attributes {
    let extra = &header.extra_data;
    let word = |from: usize, to: usize| {
        extra.get(from..to).map_or(0, |bytes| bytes.iter().fold(0, |value: u64, byte| value << 8 | u64::from(*byte)))
    };
    Attributes {
        timestamp: header.timestamp,
        prev_randao: header.mix_hash,
        fee_recipient: header.beneficiary,
        parent_beacon_block_root: header.parent_beacon_block_root.unwrap_or_default(),
        gas_limit: header.gas_limit,
        deposits,
        eip1559_denominator: word(1, 5),
        eip1559_elasticity: word(5, 9),
        min_base_fee: word(9, 17),
    }
}
