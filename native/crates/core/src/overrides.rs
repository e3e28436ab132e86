//! State and block overrides of calls and traces, read and applied as op-geth v1.101702.3 does (`internal/ethapi/override`).
//!
//! Field names match without regard to case, unknown fields and null are ignored, numbers are hex quantities without leading zeros.
//! What cannot be read is told from what must not be applied: the first is the caller's argument (`state_overrides_malformed`,
//! `block_overrides_malformed`), the second fails the call (`override_refused`). No sentence holds text of a parser.

use std::collections::BTreeMap;

use alloy_primitives::{hex, Address, Bytes, B256, U256};
use plait_state::AccountInfo;
use revm::bytecode::Bytecode;
use revm::context::BlockEnv;
use revm::context_interface::block::BlobExcessGasAndPrice;
use serde_json::{Map, Value};

use crate::error::{CoreError, Result};
use crate::overlay::Overlay;

/// What a reader says about a value: a sentence that goes on from the value's path.
type Read<T> = std::result::Result<T, String>;

/// What changes in one account.
#[derive(Debug, Clone, Default)]
struct AccountChange {
    nonce: Option<u64>,
    code: Option<Bytes>,
    balance: Option<U256>,
    state: Option<Vec<(B256, B256)>>,
    state_diff: Option<Vec<(B256, B256)>>,
    precompile_to: Option<Address>,
}

/// Accounts to change before a call, in rising order.
#[derive(Debug, Clone, Default)]
pub struct StateOverrides(BTreeMap<Address, AccountChange>);

/// Fields of the block that a call sees.
#[derive(Debug, Clone, Default)]
pub struct BlockOverrides {
    number: Option<U256>,
    time: Option<u64>,
    gas_limit: Option<u64>,
    fee_recipient: Option<Address>,
    prev_randao: Option<B256>,
    base_fee: Option<U256>,
    blob_base_fee: Option<U256>,
    unsupported: Option<&'static str>,
}

/// Addresses that stop being precompiles during a call, each with where it goes.
pub type PrecompileMoves = Vec<(Address, Option<Address>)>;

impl StateOverrides {
    /// Reads `{address: {nonce, code, balance, state | stateDiff, movePrecompileToAddress}}`.
    ///
    /// # Errors
    /// `state_overrides_malformed`.
    pub fn parse(json: &[u8]) -> Result<Self> {
        value_of(json)
            .and_then(|value| Self::read(&value))
            .map_err(|problem| CoreError::new("state_overrides_malformed", format!("state overrides: {problem}")))
    }

    /// As [`StateOverrides::parse`], of a parsed value.
    pub(crate) fn read(value: &Value) -> Read<Self> {
        let mut accounts = BTreeMap::new();
        for (key, change) in object(value)?.into_iter().flatten() {
            let address = Address::from(fixed::<20>(key).map_err(|problem| format!("key {}: {problem}", shown(key)))?);
            let change = AccountChange::read(change).map_err(|problem| format!("account {address}: {problem}"))?;
            accounts.insert(address, change);
        }
        Ok(Self(accounts))
    }

    /// Changes the state that a call sees; what becomes of precompiles is for the EVM.
    ///
    /// # Errors
    /// `override_refused`.
    pub fn apply(self, overlay: &mut Overlay) -> Result<PrecompileMoves> {
        let refused = |message: String| Err(CoreError::new("override_refused", message));
        let mut moves = Vec::with_capacity(self.0.len());
        for (address, change) in &self.0 {
            if let Some(to) = change.precompile_to.filter(|to| self.0.contains_key(to)) {
                return refused(format!("account {to} is already overridden"));
            }
            if change.state.is_some() && change.state_diff.is_some() {
                return refused(format!("account {address} has both 'state' and 'stateDiff'"));
            }
            moves.push((*address, change.precompile_to));
        }
        for (address, change) in self.0 {
            change.apply(address, overlay);
        }
        Ok(moves)
    }
}

impl AccountChange {
    fn read(value: &Value) -> Read<Self> {
        let Some(fields) = object(value)? else { return Ok(Self::default()) };
        Ok(Self {
            nonce: field(fields, &["nonce"], quantity_64)?,
            code: field(fields, &["code"], data)?,
            balance: field(fields, &["balance"], quantity)?,
            state: field(fields, &["state"], slots)?,
            state_diff: field(fields, &["stateDiff"], slots)?,
            precompile_to: field(fields, &["movePrecompileToAddress"], address)?,
        })
    }

    fn apply(self, address: Address, overlay: &mut Overlay) {
        let mut info: AccountInfo = overlay.account(address).unwrap_or_default();
        info.balance = self.balance.unwrap_or(info.balance);
        info.nonce = self.nonce.unwrap_or(info.nonce);
        if let Some(code) = self.code {
            // Bytes that begin like a delegation and are none run as code, as in go-ethereum.
            let code = Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code));
            info.code_hash = code.hash_slow();
            overlay.codes().insert_temporary(info.code_hash, code);
        }
        overlay.override_account(address, info);
        if self.state.is_some() {
            overlay.override_storage_empty(address);
        }
        for (slot, value) in self.state.or(self.state_diff).unwrap_or_default() {
            overlay.override_slot(address, slot.into(), value.into());
        }
    }
}

impl BlockOverrides {
    /// Reads op-geth's block overrides; the names that older clients use for a field are taken too.
    ///
    /// # Errors
    /// `block_overrides_malformed`.
    pub fn parse(json: &[u8]) -> Result<Self> {
        value_of(json)
            .and_then(|value| Self::read(&value))
            .map_err(|problem| CoreError::new("block_overrides_malformed", format!("block overrides: {problem}")))
    }

    /// As [`BlockOverrides::parse`], of a parsed value.
    pub(crate) fn read(value: &Value) -> Read<Self> {
        let Some(fields) = object(value)? else { return Ok(Self::default()) };
        field(fields, &["difficulty"], quantity)?; // without effect since the merge
        let beacon_root = field(fields, &["beaconRoot"], |value| word(value).map(|_| "beaconRoot"))?;
        let withdrawals = field(fields, &["withdrawals"], |value| {
            value.as_array().map(|_| "withdrawals").ok_or_else(|| "not an array".to_string())
        })?;
        Ok(Self {
            number: field(fields, &["number", "blockNumber"], quantity)?,
            time: field(fields, &["time", "timestamp"], quantity_64)?,
            gas_limit: field(fields, &["gasLimit"], quantity_64)?,
            fee_recipient: field(fields, &["feeRecipient", "coinbase"], address)?,
            prev_randao: field(fields, &["prevRandao", "random"], word)?,
            base_fee: field(fields, &["baseFeePerGas", "baseFee"], quantity)?,
            blob_base_fee: field(fields, &["blobBaseFee"], quantity)?,
            unsupported: beacon_root.or(withdrawals),
        })
    }

    /// Changes the block that a call sees.
    ///
    /// # Errors
    /// `override_refused`.
    pub fn apply(self, block: &mut BlockEnv) -> Result<()> {
        let refused = |message: String| CoreError::new("override_refused", message);
        if let Some(name) = self.unsupported {
            return Err(refused(format!("block override \"{name}\" is not supported for this RPC method")));
        }
        block.number = self.number.unwrap_or(block.number);
        block.timestamp = self.time.map_or(block.timestamp, U256::from);
        block.gas_limit = self.gas_limit.unwrap_or(block.gas_limit);
        block.beneficiary = self.fee_recipient.unwrap_or(block.beneficiary);
        block.prevrandao = self.prev_randao.or(block.prevrandao);
        if let Some(fee) = self.base_fee {
            block.basefee =
                u64::try_from(fee).map_err(|_| refused("block override \"baseFeePerGas\" exceeds 64 bits".into()))?;
        }
        if let Some(fee) = self.blob_base_fee {
            let blob_gasprice =
                u128::try_from(fee).map_err(|_| refused("block override \"blobBaseFee\" exceeds 128 bits".into()))?;
            block.blob_excess_gas_and_price = Some(BlobExcessGasAndPrice { excess_blob_gas: 0, blob_gasprice });
        }
        Ok(())
    }
}

fn value_of(json: &[u8]) -> Read<Value> {
    serde_json::from_slice(json).map_err(|_| "not JSON".to_string())
}

/// The fields of an object; None for null.
fn object(value: &Value) -> Read<Option<&Map<String, Value>>> {
    match value {
        Value::Null => Ok(None),
        Value::Object(fields) => Ok(Some(fields)),
        _ => Err("not an object".into()),
    }
}

/// The field of the first of these names that is there, whatever its case; null is absent.
fn field<T>(fields: &Map<String, Value>, names: &[&str], read: impl FnOnce(&Value) -> Read<T>) -> Read<Option<T>> {
    let of_name = |name: &&str| fields.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null());
    let Some((key, value)) = names.iter().find_map(of_name) else { return Ok(None) };
    read(value).map(Some).map_err(|problem| format!("{key}: {problem}"))
}

fn text(value: &Value) -> Read<&str> {
    value.as_str().ok_or_else(|| "not a hex string".into())
}

fn digits(text: &str) -> Read<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).ok_or_else(|| "hex string without 0x prefix".into())
}

fn quantity(value: &Value) -> Read<U256> {
    let digits = digits(text(value)?)?;
    if digits.is_empty() {
        return Err("empty hex number".into());
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err("hex number with leading zero digits".into());
    }
    if digits.len() > 64 {
        return Err("hex number > 256 bits".into());
    }
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("invalid hex string".into());
    }
    U256::from_str_radix(digits, 16).map_err(|_| "invalid hex string".into())
}

fn quantity_64(value: &Value) -> Read<u64> {
    quantity(value)?.try_into().map_err(|_| "hex number > 64 bits".into())
}

fn data(value: &Value) -> Read<Bytes> {
    hex::decode(digits(text(value)?)?).map(Bytes::from).map_err(|_| "invalid hex string".into())
}

fn fixed<const SIZE: usize>(text: &str) -> Read<[u8; SIZE]> {
    let digits = digits(text)?;
    if digits.len() != 2 * SIZE {
        return Err(format!("hex string has length {}, want {}", digits.len(), 2 * SIZE));
    }
    hex::decode_to_array(digits).map_err(|_| "invalid hex string".into())
}

fn address(value: &Value) -> Read<Address> {
    fixed::<20>(text(value)?).map(Address::from)
}

fn word(value: &Value) -> Read<B256> {
    fixed::<32>(text(value)?).map(B256::from)
}

fn slots(value: &Value) -> Read<Vec<(B256, B256)>> {
    let fields = value.as_object().ok_or_else(|| "not an object".to_string())?;
    let slot = |(key, value): (&String, &Value)| {
        let key_word = fixed::<32>(key).map_err(|problem| format!("key {}: {problem}", shown(key)))?;
        Ok((key_word.into(), word(value).map_err(|problem| format!("value of {key}: {problem}"))?))
    };
    fields.iter().map(slot).collect()
}

/// The start of a key, so that a sentence stays a sentence.
fn shown(key: &str) -> String {
    key.chars().take(66).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problem(value: Value) -> String {
        StateOverrides::parse(value.to_string().as_bytes()).unwrap_err().message
    }

    #[test]
    fn malformed_state_overrides_are_named_by_their_path() {
        let account = format!("{}", Address::repeat_byte(1));
        assert_eq!(problem(json!({"0x12": {}})), "state overrides: key 0x12: hex string has length 2, want 40");
        assert_eq!(problem(json!([])), "state overrides: not an object");
        assert_eq!(
            problem(json!({&account: {"nonce": "0x01"}})),
            format!("state overrides: account {account}: nonce: hex number with leading zero digits")
        );
        assert_eq!(
            problem(json!({&account: {"stateDiff": {"0x1": "0x2"}}})),
            format!("state overrides: account {account}: stateDiff: key 0x1: hex string has length 1, want 64")
        );
    }

    #[test]
    fn null_and_unknown_fields_change_nothing() {
        let account = format!("{}", Address::repeat_byte(1));
        for value in [json!(null), json!({&account: null}), json!({&account: {"colour": 1, "nonce": null}})] {
            let read = StateOverrides::parse(value.to_string().as_bytes()).unwrap();
            assert!(read.0.values().all(|change| change.nonce.is_none() && change.code.is_none()), "{value}");
        }
    }

    #[test]
    fn block_overrides_are_applied_or_refused_whatever_the_case_of_their_names() {
        let mut block = BlockEnv::default();
        let apply =
            |value: Value, block: &mut BlockEnv| BlockOverrides::parse(value.to_string().as_bytes())?.apply(block);
        apply(json!({"Number": "0x9", "blobbasefee": "0x7", "baseFeePerGas": "0x5", "unknown": []}), &mut block)
            .unwrap();
        assert_eq!((block.number, block.basefee), (U256::from(9), 5));
        assert_eq!(block.blob_excess_gas_and_price.unwrap().blob_gasprice, 7);
        let error = apply(json!({"withdrawals": []}), &mut block).unwrap_err();
        assert_eq!(error.code, "override_refused");
        assert_eq!(error.message, "block override \"withdrawals\" is not supported for this RPC method");
        let error = apply(json!({"time": 5}), &mut block).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            ("block_overrides_malformed", "block overrides: time: not a hex string")
        );
    }
}
