//! Gas estimates and access lists.
//!
//! The estimate follows op-geth v1.101702.3 `eth/gasestimator`: run at the highest allowance, then at used gas plus refund plus
//! stipend scaled by 64/63, then bisect, leaning low, until the bracket is within 1.5 %.

use alloy_primitives::{TxKind, U256};
use alloy_rpc_types_eth::AccessList;
use op_revm::OpHaltReason;
use plait_state::AccountInfo;
use revm::context::result::ExecutionResult;
use revm_inspectors::access_list::AccessListInspector;

use crate::calls::{call_result, Call, Overrides};
use crate::error::{CoreError, Result};
use crate::execute::revert_sentence;
use crate::json::Json;
use crate::rollup::Rollup;

/// Gas of a plain transfer.
const TRANSFER_GAS: u64 = 21_000;
/// Gas a callee gets for free with value (EIP-150).
const CALL_STIPEND: u64 = 2_300;
/// Runs of one estimate; 64 halvings of a 64-bit bracket.
const RUNS_MAX: usize = 64;
/// Rounds until an access list no longer changes (each round may warm what the one before found).
const ACCESS_LIST_ROUNDS_MAX: usize = 16;

/// `eth_estimateGas`.
///
/// # Errors
/// `execution_reverted` (with data), `gas_required_exceeds_allowance`, `execution_failed`, `insufficient_funds`, `invalid_params`,
/// `state_unavailable`.
pub fn estimate_gas(rollup: &Rollup, request: &[u8], at: i64, overrides: Option<&[u8]>, gas_cap: u64) -> Result<u64> {
    let overrides = Overrides::parse(overrides, None)?;
    rollup.read(|moment| estimate(Call::prepare(moment, request, at, overrides.clone(), gas_cap)?, gas_cap))
}

fn estimate(mut call: Call, gas_cap: u64) -> Result<u64> {
    let mut high = if call.gas_asked >= TRANSFER_GAS { call.gas_asked } else { call.env.block_env.gas_limit };
    high = high.min(affordable_gas(&mut call)?.unwrap_or(high));
    if gas_cap != 0 {
        high = high.min(gas_cap);
    }
    if is_transfer(&mut call) && attempt(&mut call, TRANSFER_GAS)?.is_some_and(|result| result.is_success()) {
        return Ok(TRANSFER_GAS);
    }
    let too_little =
        || CoreError::new("gas_required_exceeds_allowance", format!("gas required exceeds allowance ({high})"));
    let result = attempt(&mut call, high)?.ok_or_else(too_little)?;
    let mut low = match &result {
        ExecutionResult::Success { .. } => result.tx_gas_used().saturating_sub(1),
        ExecutionResult::Revert { output, .. } => {
            return Err(CoreError::with_data("execution_reverted", revert_sentence(output), output.to_vec()));
        }
        ExecutionResult::Halt { reason, .. } => {
            let sentence = call.halt_sentence(high, reason)?;
            let is_out_of_gas = sentence.starts_with("out of gas");
            return Err(if is_out_of_gas { too_little() } else { CoreError::new("execution_failed", sentence) });
        }
    };
    let peak = result.gas().total_gas_spent().max(result.gas().floor_gas());
    let optimistic = (peak + CALL_STIPEND) * 64 / 63;
    if optimistic < high {
        if succeeds(&mut call, optimistic)? {
            high = optimistic;
        } else {
            low = optimistic;
        }
    }
    for _ in 0..RUNS_MAX {
        // Integer form of (high - low) / high < 0.015.
        if low + 1 >= high || u128::from(high - low) * 1000 < u128::from(high) * 15 {
            break;
        }
        let middle = (low + (high - low) / 2).min(low.saturating_mul(2));
        if succeeds(&mut call, middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

/// A run whose refusal for lack of intrinsic gas counts as a failure that more gas cures.
fn attempt(call: &mut Call, gas: u64) -> Result<Option<ExecutionResult<OpHaltReason>>> {
    match call.run(gas) {
        Ok(result) => Ok(Some(result.result)),
        Err(error) if error.code == "intrinsic_gas_too_low" => Ok(None),
        Err(error) => Err(error),
    }
}

fn succeeds(call: &mut Call, gas: u64) -> Result<bool> {
    Ok(attempt(call, gas)?.is_some_and(|result| result.is_success()))
}

/// Gas that the sender's balance pays for after the value; None without a fee cap.
fn affordable_gas(call: &mut Call) -> Result<Option<u64>> {
    let base = &call.transaction.0.base;
    let (cap, value, sender) = (base.gas_price, base.value, base.caller);
    if cap == 0 {
        return Ok(None);
    }
    let balance = call.overlay.account(sender).map_or(U256::ZERO, |account| account.balance);
    if value >= balance {
        return Err(CoreError::new("insufficient_funds", "insufficient funds for transfer"));
    }
    Ok(u64::try_from((balance - value) / U256::from(cap)).ok())
}

fn is_transfer(call: &mut Call) -> bool {
    let base = &call.transaction.0.base;
    let (TxKind::Call(to), true) = (base.kind, base.data.is_empty()) else { return false };
    !call.overlay.account(to).as_ref().is_some_and(AccountInfo::has_code)
}

/// `eth_createAccessList`'s result.
///
/// # Errors
/// Those of a call.
pub fn access_list_json(rollup: &Rollup, request: &[u8], at: i64, gas_cap: u64) -> Result<Vec<u8>> {
    rollup.read(|moment| accesses(Call::prepare(moment, request, at, Overrides::default(), gas_cap)?))
}

fn accesses(mut call: Call) -> Result<Vec<u8>> {
    let gas = call.transaction.0.base.gas_limit;
    let mut round = 0;
    let (list, result) = loop {
        let before = sorted(call.transaction.0.base.access_list.clone());
        let mut inspector = AccessListInspector::new(before.clone());
        let result = call.run_inspected(gas, &mut inspector)?;
        let list = sorted(inspector.into_access_list());
        round += 1;
        if list == before || round == ACCESS_LIST_ROUNDS_MAX {
            break (list, call_result(&mut call, gas, &result.result)?);
        }
        call.transaction.0.base.access_list = list;
    };
    let mut json = Json::default();
    json.object(|object| {
        object.key("accessList").array(list.iter(), |json, entry| {
            json.object(|object| {
                object.data("address", entry.address);
                object.key("storageKeys").array(&entry.storage_keys, |json, key| json.data(key));
            });
        });
        if let Some(error) = &result.error {
            // op-geth names the bare error here, without the reason that the revert data states.
            let is_revert = error.starts_with("execution reverted");
            object.key("error").text(if is_revert { "execution reverted" } else { error });
        }
        object.quantity("gasUsed", result.gas_used);
    });
    Ok(json.into_bytes())
}

/// Addresses and keys in rising order, so that the answer is deterministic.
fn sorted(mut list: AccessList) -> AccessList {
    list.0.sort_by_key(|entry| entry.address);
    for entry in &mut list.0 {
        entry.storage_keys.sort_unstable();
    }
    list
}
