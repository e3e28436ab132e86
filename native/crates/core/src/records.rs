//! How a sealed block lies in the store: the header as RLP, the body as raw transactions with senders, receipts without what can
//! be computed. Integers are LEB128. Everything here can be rebuilt by executing the decided log, so a malformed record is an error
//! of the store (`store_corrupt`), never a guess.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, Log, LogData, B256};

use crate::block::{decode_deposit, Chunk, Included};
use crate::error::{CoreError, Result};
use crate::transaction::{decode_in_block, Transaction};

/// Raw transactions and their senders.
pub fn encode_body(body: &Chunk) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.items.iter().map(|item| item.transaction.raw.len() + 24).sum());
    put(&mut out, body.items.len() as u64);
    for item in &body.items {
        out.extend_from_slice(item.transaction.sender.as_slice());
        put_bytes(&mut out, &item.transaction.raw);
    }
    out
}

/// Status, gas, deposit nonce and logs of every transaction.
pub fn encode_receipts(body: &Chunk) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.items.len() * 160);
    for item in &body.items {
        out.push(u8::from(item.success) | (u8::from(item.deposit_nonce.is_some()) << 1));
        put(&mut out, item.gas_used);
        if let Some(nonce) = item.deposit_nonce {
            put(&mut out, nonce);
        }
        put(&mut out, item.logs.len() as u64);
        for log in item.logs.iter() {
            out.extend_from_slice(log.address.as_slice());
            out.push(log.topics().len() as u8);
            for topic in log.topics() {
                out.extend_from_slice(topic.as_slice());
            }
            put_bytes(&mut out, &log.data.data);
        }
    }
    out
}

/// Rebuilds a block's content.
///
/// # Errors
/// `store_corrupt`.
pub fn decode(body: &[u8], receipts: &[u8], chain_id: u64) -> Result<Chunk> {
    let mut body = Reader(body);
    let count = body.number()?;
    let mut transactions = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(1 << 20));
    for _ in 0..count {
        let sender = Address::from_slice(body.take(20)?);
        let raw = body.bytes()?;
        let transaction = if raw.first() == Some(&0x7e) {
            decode_deposit(raw).map_err(|_| corrupt())?
        } else {
            decode_in_block(raw, chain_id, Some(sender)).map_err(|_| corrupt())?
        };
        transactions.push(Arc::new(transaction));
    }
    if body.0.is_empty() {
        with_receipts(transactions, receipts)
    } else {
        Err(corrupt())
    }
}

/// A block's content from its transactions and their encoded receipts.
///
/// # Errors
/// `store_corrupt` when they do not belong together.
pub fn with_receipts(transactions: Vec<Arc<Transaction>>, receipts: &[u8]) -> Result<Chunk> {
    let mut receipts = Reader(receipts);
    let mut items = Vec::with_capacity(transactions.len());
    let (mut gas, mut logs_before) = (0_u64, 0_u64);
    for transaction in transactions {
        let flags = receipts.take(1)?[0];
        let gas_used = receipts.number()?;
        let deposit_nonce = if flags & 2 == 0 { None } else { Some(receipts.number()?) };
        let logs = (0..receipts.number()?).map(|_| receipts.log()).collect::<Result<Vec<Log>>>()?;
        gas = gas.checked_add(gas_used).ok_or_else(corrupt)?;
        let first_log_index = logs_before;
        logs_before += logs.len() as u64;
        items.push(Included {
            transaction,
            success: flags & 1 == 1,
            gas_used,
            cumulative_gas_used: gas,
            logs: Arc::new(logs),
            first_log_index,
            deposit_nonce,
        });
    }
    if receipts.0.is_empty() {
        Ok(Chunk::new(items))
    } else {
        Err(corrupt())
    }
}

/// Where each log of a block lies in its encoded receipts, in the order of the logs.
///
/// # Errors
/// `store_corrupt`.
pub fn log_positions(receipts: &[u8]) -> Result<Vec<usize>> {
    let mut reader = Reader(receipts);
    let mut positions = Vec::new();
    while !reader.0.is_empty() {
        let flags = reader.take(1)?[0];
        reader.number()?;
        if flags & 2 != 0 {
            reader.number()?;
        }
        for _ in 0..reader.number()? {
            positions.push(receipts.len() - reader.0.len());
            reader.take(20)?;
            let topics = reader.take(1)?[0];
            reader.take(32 * usize::from(topics))?;
            reader.bytes()?;
        }
    }
    Ok(positions)
}

/// The log at a position that [`log_positions`] gave for the same receipts.
///
/// # Errors
/// `store_corrupt`.
pub fn log_at(receipts: &[u8], position: usize) -> Result<Log> {
    Reader(receipts.get(position..).ok_or_else(corrupt)?).log()
}

fn corrupt() -> CoreError {
    CoreError::new("store_corrupt", "a block record in the store is malformed; rebuild the store from the decided log")
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends an integer.
pub fn put_number(out: &mut Vec<u8>, value: u64) {
    put(out, value);
}

/// Reads what `put_number` and `put_bytes` wrote; never reads past the end.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `count` bytes.
    ///
    /// # Errors
    /// `store_corrupt` at the end of the input; likewise below.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count).ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(head)
    }

    /// The next integer.
    ///
    /// # Errors
    /// `store_corrupt`.
    pub fn number(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(corrupt());
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(corrupt())
    }

    /// The next length-prefixed bytes.
    ///
    /// # Errors
    /// `store_corrupt`.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.number()?).map_err(|_| corrupt())?;
        self.take(length)
    }

    fn log(&mut self) -> Result<Log> {
        let address = Address::from_slice(self.take(20)?);
        let topics = (0..self.take(1)?[0]).map(|_| self.take(32).map(B256::from_slice)).collect::<Result<Vec<_>>>()?;
        let data = Bytes::copy_from_slice(self.bytes()?);
        Ok(Log { address, data: LogData::new(topics, data).ok_or_else(corrupt)? })
    }
}
