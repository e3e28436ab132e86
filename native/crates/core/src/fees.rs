//! What a transaction pays beside gas: the L1 data fee and the operator fee, from L1Block's storage or from the L1-attributes
//! deposit of a block; and the fee history.
//!
//! Sources: op-geth `core/types/rollup_cost.go`, `eth/gasprice/feehistory.go`; OP Stack specs fjord, isthmus, jovian.

use alloy_consensus::{Header, Transaction as _};
use alloy_primitives::{address, Address, U256};
use op_revm::{L1BlockInfo, OpSpecId};

use crate::block::Included;
use crate::chain::Chain;
use crate::error::{CoreError, Result};
use crate::json::Json;
use crate::rollup::{AnyBlock, Decided, Rollup, PENDING};
use crate::transaction::Transaction;

/// L1Block.
pub const L1_BLOCK: Address = address!("4200000000000000000000000000000000000015");
/// Blocks that one fee history answers, as op-geth's default with percentiles.
const HISTORY_BLOCKS_MAX: u64 = 1024;
/// Percentiles per request (op-geth `maxQueryLimit`).
const PERCENTILES_MAX: usize = 100;

/// The cost parameters as L1Block holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct L1Costs {
    /// L1 base fee, wei.
    pub l1_base_fee: U256,
    /// Its scalar, millionths.
    pub base_fee_scalar: u64,
    /// L1 blob base fee, wei.
    pub l1_blob_base_fee: U256,
    /// Its scalar, millionths.
    pub blob_base_fee_scalar: u64,
    /// Operator fee per gas (Isthmus: millionths; Jovian: hundredfold).
    pub operator_fee_scalar: u64,
    /// Operator fee per transaction, wei.
    pub operator_fee_constant: u64,
    /// DA footprint per byte (Jovian), gas.
    pub da_footprint_scalar: u64,
}

fn word(bytes: &[u8; 32], from: usize, to: usize) -> u64 {
    bytes[from..to].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl L1Costs {
    /// Reads L1Block's slots 1, 3, 7 and 8 at a block selector.
    ///
    /// # Errors
    /// `state_unavailable`, and those of reading remote state.
    pub fn at(rollup: &Rollup, at: i64) -> Result<Self> {
        let slots = [1, 3, 7, 8].map(U256::from);
        let found = rollup.read(|moment| moment.slots(L1_BLOCK, &slots, at))?;
        let scalars = found[1].to_be_bytes::<32>();
        let operator = found[3].to_be_bytes::<32>();
        Ok(Self {
            l1_base_fee: found[0],
            base_fee_scalar: word(&scalars, 16, 20),
            l1_blob_base_fee: found[2],
            blob_base_fee_scalar: word(&scalars, 20, 24),
            operator_fee_scalar: word(&operator, 20, 24),
            operator_fee_constant: word(&operator, 24, 32),
            da_footprint_scalar: word(&operator, 18, 20),
        })
    }

    /// Reads the calldata of an L1-attributes deposit (Ecotone layout and later).
    pub fn from_attributes(data: &[u8]) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<u64> {
            Some(data.get(from..to)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        };
        Some(Self {
            l1_base_fee: U256::from_be_slice(data.get(36..68)?),
            base_fee_scalar: number(4, 8)?,
            l1_blob_base_fee: U256::from_be_slice(data.get(68..100)?),
            blob_base_fee_scalar: number(8, 12)?,
            operator_fee_scalar: number(164, 168).unwrap_or(0),
            operator_fee_constant: number(168, 176).unwrap_or(0),
            da_footprint_scalar: number(176, 178).unwrap_or(0),
        })
    }

    /// op-revm's form of the same parameters.
    fn block_info(&self) -> L1BlockInfo {
        L1BlockInfo {
            l1_base_fee: self.l1_base_fee,
            l1_base_fee_scalar: U256::from(self.base_fee_scalar),
            l1_blob_base_fee: Some(self.l1_blob_base_fee),
            l1_blob_base_fee_scalar: Some(U256::from(self.blob_base_fee_scalar)),
            operator_fee_scalar: Some(U256::from(self.operator_fee_scalar)),
            operator_fee_constant: Some(U256::from(self.operator_fee_constant)),
            da_footprint_gas_scalar: Some(self.da_footprint_scalar as u16),
            ..Default::default()
        }
    }

    /// The L1 data fee of a raw transaction, wei.
    pub fn l1_fee(&self, spec: OpSpecId, raw: &[u8]) -> U256 {
        self.block_info().calculate_tx_l1_cost(raw, spec)
    }

    /// L1 gas that the data fee stands for (deprecated since Fjord, still in receipts).
    pub fn l1_gas_used(&self, spec: OpSpecId, raw: &[u8]) -> U256 {
        self.block_info().data_gas(raw, spec)
    }

    /// L1 data fee plus the operator fee on the whole gas limit: what the sender must hold beside value and gas.
    pub fn additional_cost(&self, spec: OpSpecId, transaction: &Transaction) -> U256 {
        let gas = U256::from(transaction.envelope.gas_limit());
        self.block_info().tx_cost(&transaction.raw, gas, spec)
    }
}

/// Price per gas that an included transaction paid, wei.
pub fn effective_gas_price(item: &Included, base_fee: u64) -> u128 {
    if item.is_deposit() {
        return 0;
    }
    item.transaction.envelope.effective_gas_price(Some(base_fee))
}

/// `eth_feeHistory`'s result.
///
/// # Errors
/// `invalid_percentile`, `block_beyond_head`, store errors.
pub fn fee_history_json(
    rollup: &Rollup,
    decided: &Decided,
    count: u64,
    newest: i64,
    percentiles: &[f64],
) -> Result<Vec<u8>> {
    check_percentiles(percentiles)?;
    let head = decided.view.head.header.number;
    let newest = if newest == PENDING { head } else { newest as u64 };
    if newest > head {
        return Err(CoreError::new(
            "block_beyond_head",
            format!("request beyond head block: requested {newest}, head {head}"),
        ));
    }
    let count = count.min(HISTORY_BLOCKS_MAX).min(newest + 1);
    let mut json = Json::default();
    if count == 0 {
        json.raw(br#"{"oldestBlock":"0x0","gasUsedRatio":null}"#);
        return Ok(json.into_bytes());
    }
    let oldest = newest + 1 - count;
    let mut headers = Vec::with_capacity(count as usize);
    let mut rewards = Vec::new();
    for number in oldest..=newest {
        let (header, _) = rollup.header(decided, number)?.ok_or_else(|| missing(number))?;
        if !percentiles.is_empty() {
            rewards.push(block_rewards(rollup, decided, &header, percentiles)?);
        }
        headers.push(header);
    }
    let next = rollup.chain.next_base_fee(headers.last().expect("at least one block"));
    let fees = headers.iter().map(|header| header.base_fee_per_gas.unwrap_or(0)).chain([next]);
    json.object(|object| {
        object.quantity("oldestBlock", oldest);
        if !percentiles.is_empty() {
            object.key("reward").array(&rewards, |json, row| {
                json.array(row, |json, reward| json.big(U256::from(*reward)));
            });
        }
        object.key("baseFeePerGas").array(fees, |json, fee| json.quantity(fee));
        object.key("gasUsedRatio").array(&headers, |json, header| ratio(json, header.gas_used, header.gas_limit));
        object.key("baseFeePerBlobGas").array(0..=headers.len(), |json, _| json.quantity(1));
        // OP Stack genesis files have no blob schedule, for which op-geth answers zero.
        object.key("blobGasUsedRatio").array(&headers, |json, _| json.raw(b"0"));
    });
    Ok(json.into_bytes())
}

fn ratio(json: &mut Json, part: u64, whole: u64) {
    // Display of a float in Rust is the shortest that reads back; integers keep no fraction, as in Go.
    json.raw(format!("{}", part as f64 / whole.max(1) as f64).as_bytes());
}

fn missing(number: u64) -> CoreError {
    CoreError::new("store_corrupt", format!("block {number} is missing from the store"))
}

fn check_percentiles(percentiles: &[f64]) -> Result<()> {
    let invalid = |message: String| Err(CoreError::new("invalid_percentile", message));
    if percentiles.len() > PERCENTILES_MAX {
        return invalid(format!("invalid reward percentile: over the query limit {PERCENTILES_MAX}"));
    }
    for (index, percentile) in percentiles.iter().enumerate() {
        if !(0.0..=100.0).contains(percentile) {
            return invalid(format!("invalid reward percentile: {percentile:.6}"));
        }
        if index > 0 && *percentile <= percentiles[index - 1] {
            let before = percentiles[index - 1];
            let at = index - 1;
            return invalid(format!("invalid reward percentile: #{at}:{before:.6} >= #{index}:{percentile:.6}"));
        }
    }
    Ok(())
}

/// Tips at the percentiles of gas used, as op-geth weighs them (a deposit counts with a tip of zero).
fn block_rewards(rollup: &Rollup, decided: &Decided, header: &Header, percentiles: &[f64]) -> Result<Vec<u128>> {
    let content = rollup.content(decided, header.number)?.ok_or_else(|| missing(header.number))?;
    let base_fee = u128::from(header.base_fee_per_gas.unwrap_or(0));
    let mut tips: Vec<(u128, u64)> = content
        .items
        .iter()
        .map(|item| (item.transaction.effective_priority_fee(base_fee).unwrap_or(0), item.gas_used))
        .collect();
    if tips.is_empty() {
        return Ok(vec![0; percentiles.len()]);
    }
    tips.sort_by_key(|(tip, _)| *tip);
    let mut at = 0;
    let mut gas = tips[0].1;
    let reward = |percentile: &f64| {
        let threshold = (header.gas_used as f64 * percentile / 100.0) as u64;
        while gas < threshold && at + 1 < tips.len() {
            at += 1;
            gas += tips[at].1;
        }
        tips[at].0
    };
    Ok(percentiles.iter().map(reward).collect())
}

/// The cost parameters that a block's own L1-attributes deposit states.
pub fn block_costs(chain: &Chain, block: &AnyBlock) -> Option<L1Costs> {
    debug_assert!(chain.has(OpSpecId::ECOTONE));
    let first = block.items().next().filter(|item| item.is_deposit())?;
    L1Costs::from_attributes(first.transaction.envelope.input())
}
