//! Reads op-geth's genesis JSON: forks, EIP-1559 parameters, header fields and the allocation.
//!
//! Numbers may be hexadecimal or decimal strings or JSON numbers, as in op-geth. Everything up to Ecotone must be active at
//! the genesis time, then a prefix of Fjord, Granite, Holocene, Isthmus, Jovian; a fork scheduled after genesis is refused,
//! because the rules of a rollup are fixed here. Source: op-geth v1.101702.3 `core/genesis.go`, `core/types/account.go`.

use alloy_consensus::{constants::EMPTY_WITHDRAWALS, Header};
use alloy_primitives::{hex, Address, Bytes, B256, B64, U256};
use op_revm::OpSpecId;
use serde_json::{Map, Value};

use crate::chain::{Chain, EMPTY_REQUESTS_HASH};
use crate::error::{CoreError, Result};

/// op-geth's gas limit where the genesis says 0 (`params.GenesisGasLimit`).
const GAS_LIMIT_DEFAULT: u64 = 4_712_388;
/// EIP-1559's first base fee, wei.
const BASE_FEE_DEFAULT: u64 = 1_000_000_000;
/// The L2ToL1MessagePasser, whose storage root is the Isthmus withdrawals root.
pub const MESSAGE_PASSER: Address = alloy_primitives::address!("4200000000000000000000000000000000000016");

/// An account of the allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisAccount {
    /// Where it lives.
    pub address: Address,
    /// Wei.
    pub balance: U256,
    /// Nonce.
    pub nonce: u64,
    /// Runtime code.
    pub code: Bytes,
    /// Non-zero slots, sorted.
    pub storage: Vec<(U256, U256)>,
}

/// A parsed genesis; the header still lacks the state root and, from Isthmus on, the withdrawals root.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// The rollup's rules.
    pub chain: Chain,
    /// Header without roots of the state.
    pub header: Header,
    /// The allocation, sorted by address.
    pub accounts: Vec<GenesisAccount>,
}

fn malformed<T>(message: impl Into<String>) -> Result<T> {
    Err(CoreError::new("genesis_malformed", message))
}

impl Genesis {
    /// Parses op-geth's genesis format.
    ///
    /// # Errors
    /// `genesis_malformed`, `genesis_fork_unsupported`.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(json).or_else(|error| malformed(format!("not JSON: {error}")))?;
        let Value::Object(root) = value else { return malformed("the genesis is not a JSON object") };
        let Some(Value::Object(config)) = root.get("config") else { return malformed("missing object `config`") };
        let time = number(&root, "timestamp")?.unwrap_or(0);
        let chain = read_chain(config, time)?;
        let header = read_header(&root, &chain, time)?;
        let Some(Value::Object(alloc)) = root.get("alloc") else { return malformed("missing object `alloc`") };
        let mut accounts = alloc.iter().map(|(key, value)| read_account(key, value)).collect::<Result<Vec<_>>>()?;
        accounts.sort_by_key(|account| account.address);
        if accounts.windows(2).any(|pair| pair[0].address == pair[1].address) {
            return malformed("an address occurs twice in `alloc`");
        }
        Ok(Self { chain, header, accounts })
    }
}

/// Forks in their order; each names the header rules or EVM rules it brings.
const FORKS: [(&str, OpSpecId); 8] = [
    ("regolithTime", OpSpecId::REGOLITH),
    ("canyonTime", OpSpecId::CANYON),
    ("ecotoneTime", OpSpecId::ECOTONE),
    ("fjordTime", OpSpecId::FJORD),
    ("graniteTime", OpSpecId::GRANITE),
    ("holoceneTime", OpSpecId::HOLOCENE),
    ("isthmusTime", OpSpecId::ISTHMUS),
    ("jovianTime", OpSpecId::JOVIAN),
];
/// Forks that execute by Jovian's rules here, as in op-geth v1.101702.3.
const LATER_FORKS: [&str; 3] = ["karstTime", "interopTime", "lagoonTime"];

/// Whether the fork is active from genesis on; a later time is refused.
fn active(config: &Map<String, Value>, key: &str, time: u64) -> Result<bool> {
    match number(config, key)? {
        None => Ok(false),
        Some(at) if at <= time => Ok(true),
        Some(at) => Err(CoreError::new(
            "genesis_fork_unsupported",
            format!("`{key}` is {at}, after the genesis time {time}; activate the fork at genesis or leave it out"),
        )),
    }
}

fn read_chain(config: &Map<String, Value>, time: u64) -> Result<Chain> {
    let Some(chain_id) = number(config, "chainId")? else { return malformed("missing `config.chainId`") };
    let Some(Value::Object(optimism)) = config.get("optimism") else {
        return Err(CoreError::new(
            "genesis_fork_unsupported",
            "`config.optimism` is missing; only OP Stack genesis files are supported",
        ));
    };
    if number(config, "bedrockBlock")? != Some(0) {
        return Err(CoreError::new("genesis_fork_unsupported", "`config.bedrockBlock` must be 0"));
    }
    let mut spec = OpSpecId::BEDROCK;
    let mut missing: Option<&str> = None;
    for (key, id) in FORKS {
        match (active(config, key, time)?, missing) {
            (true, None) => spec = id,
            (true, Some(gap)) => {
                return Err(CoreError::new(
                    "genesis_fork_unsupported",
                    format!("`{key}` is active but the earlier `{gap}` is not"),
                ));
            }
            (false, _) => missing = missing.or(Some(key)),
        }
    }
    for key in LATER_FORKS {
        if active(config, key, time)? && spec != OpSpecId::JOVIAN {
            return Err(CoreError::new("genesis_fork_unsupported", format!("`{key}` needs `jovianTime` at genesis")));
        }
    }
    if !spec.is_enabled_in(OpSpecId::ECOTONE) {
        return Err(CoreError::new("genesis_fork_unsupported", "Ecotone (`ecotoneTime`) must be active at genesis"));
    }
    let prague = spec.is_enabled_in(OpSpecId::ISTHMUS);
    for (key, wanted) in [("shanghaiTime", true), ("cancunTime", true), ("pragueTime", prague)] {
        if active(config, key, time)? != wanted {
            let verb = if wanted { "must be active" } else { "must be absent" };
            return Err(CoreError::new(
                "genesis_fork_unsupported",
                format!("`{key}` {verb} at genesis with the OP forks given (Canyon is Shanghai, Ecotone Cancun, Isthmus Prague)"),
            ));
        }
    }
    let denominator = match number(optimism, "eip1559DenominatorCanyon")? {
        Some(value) if value > 0 => value,
        _ => return malformed("`config.optimism.eip1559DenominatorCanyon` must be a positive number"),
    };
    let elasticity = match number(optimism, "eip1559Elasticity")? {
        Some(value) if value > 0 => value,
        _ => return malformed("`config.optimism.eip1559Elasticity` must be a positive number"),
    };
    Ok(Chain { chain_id, spec, denominator, elasticity })
}

fn read_header(root: &Map<String, Value>, chain: &Chain, time: u64) -> Result<Header> {
    let Some(gas_limit) = number(root, "gasLimit")? else { return malformed("missing `gasLimit`") };
    let Some(difficulty) = number256(root, "difficulty")? else { return malformed("missing `difficulty`") };
    let base_fee = match number256(root, "baseFeePerGas")? {
        None => BASE_FEE_DEFAULT,
        Some(fee) => fee.try_into().or_else(|_| malformed("`baseFeePerGas` exceeds 64 bits"))?,
    };
    let extra_data = Bytes::from(optional_bytes(root, "extraData")?);
    let extra_size_wanted = match chain.spec {
        spec if spec.is_enabled_in(OpSpecId::JOVIAN) => Some((17, 1)),
        spec if spec.is_enabled_in(OpSpecId::HOLOCENE) => Some((9, 0)),
        _ => None,
    };
    if let Some((size, version)) = extra_size_wanted {
        let zero = |at: usize| extra_data[at..at + 4].iter().all(|byte| *byte == 0);
        if extra_data.len() != size || extra_data[0] != version || zero(1) || zero(5) {
            return malformed(format!(
                "`extraData` must be {size} bytes: version {version}, denominator and elasticity (both positive)\
                 {}, e.g. 0x{}",
                if size == 17 { ", minimum base fee" } else { "" },
                if size == 17 { "01000000fa000000060000000000000000" } else { "00000000fa00000006" },
            ));
        }
    }
    let isthmus = chain.has(OpSpecId::ISTHMUS);
    let block_number = number(root, "number")?.unwrap_or(0);
    if block_number != 0 {
        return malformed("`number` must be 0: a rollup starts with its genesis block");
    }
    Ok(Header {
        number: 0,
        nonce: B64::from(number(root, "nonce")?.unwrap_or(0)),
        timestamp: time,
        parent_hash: fixed::<32>(root, "parentHash")?.into(),
        extra_data,
        gas_limit: if gas_limit == 0 { GAS_LIMIT_DEFAULT } else { gas_limit },
        gas_used: number(root, "gasUsed")?.unwrap_or(0),
        base_fee_per_gas: Some(base_fee),
        difficulty,
        mix_hash: fixed::<32>(root, "mixHash")?.into(),
        beneficiary: fixed::<20>(root, "coinbase")?.into(),
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        parent_beacon_block_root: Some(B256::ZERO),
        excess_blob_gas: Some(number(root, "excessBlobGas")?.unwrap_or(0)),
        blob_gas_used: Some(number(root, "blobGasUsed")?.unwrap_or(0)),
        requests_hash: isthmus.then_some(EMPTY_REQUESTS_HASH),
        ..Default::default()
    })
}

fn read_account(key: &str, value: &Value) -> Result<GenesisAccount> {
    let address = decode_hex(key).and_then(|bytes| <[u8; 20]>::try_from(bytes).ok());
    let Some(address) = address else { return malformed(format!("`alloc` key {key:?} is not an address")) };
    let Value::Object(account) = value else { return malformed(format!("`alloc` entry of {key} is not an object")) };
    let Some(balance) = number256(account, "balance")? else {
        return malformed(format!("`alloc` entry of {key} lacks `balance`"));
    };
    let mut storage = std::collections::BTreeMap::new();
    match account.get("storage") {
        None | Some(Value::Null) => {}
        Some(Value::Object(slots)) => {
            for (slot, word) in slots {
                let word = word.as_str().map_or_else(|| malformed("a storage value is not a string"), storage_word)?;
                storage.insert(storage_word(slot)?, word);
            }
        }
        Some(_) => return malformed(format!("`storage` of {key} is not an object")),
    }
    Ok(GenesisAccount {
        address: address.into(),
        balance,
        nonce: number(account, "nonce")?.unwrap_or(0),
        code: optional_bytes(account, "code")?.into(),
        storage: storage.into_iter().filter(|(_, word)| !word.is_zero()).collect(),
    })
}

/// A storage key or value: up to 64 hexadecimal digits, an even number of them, padded on the left.
fn storage_word(text: &str) -> Result<U256> {
    match decode_hex(text) {
        Some(bytes) if bytes.len() <= 32 => Ok(U256::from_be_slice(&bytes)),
        _ => malformed(format!("invalid hex storage key or value {:?}", clip(text))),
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

fn number256(map: &Map<String, Value>, key: &str) -> Result<Option<U256>> {
    let text = match map.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(value)) => value.to_string(),
        Some(_) => return malformed(format!("`{key}` is not a number")),
    };
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some("") => Ok(U256::ZERO),
        Some(digits) => U256::from_str_radix(digits, 16),
        None if text.is_empty() => Ok(U256::ZERO),
        None => U256::from_str_radix(&text, 10),
    };
    parsed.map(Some).or_else(|_| malformed(format!("`{key}` is not a number of at most 256 bits: {:?}", clip(&text))))
}

fn number(map: &Map<String, Value>, key: &str) -> Result<Option<u64>> {
    match number256(map, key)? {
        None => Ok(None),
        Some(value) => u64::try_from(value).map(Some).or_else(|_| malformed(format!("`{key}` exceeds 64 bits"))),
    }
}

fn optional_bytes(map: &Map<String, Value>, key: &str) -> Result<Vec<u8>> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => decode_hex(text).map_or_else(|| malformed(format!("`{key}` is not hex data")), Ok),
        Some(_) => malformed(format!("`{key}` is not a string of hex data")),
    }
}

fn fixed<const N: usize>(map: &Map<String, Value>, key: &str) -> Result<[u8; N]> {
    let bytes = optional_bytes(map, key)?;
    if bytes.is_empty() {
        return Ok([0; N]);
    }
    <[u8; N]>::try_from(bytes).or_else(|_| malformed(format!("`{key}` must be {N} bytes")))
}
