//! What the state knows of an account, apart from its storage.

use alloy_primitives::{B256, KECCAK256_EMPTY, U256};

/// Nonce, balance (wei) and code hash of an account (Yellow Paper 4.1). The storage root is the trie's own business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountInfo {
    /// Number of transactions sent, or of contracts created by a contract.
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// keccak-256 of the code; [`KECCAK256_EMPTY`] without code.
    pub code_hash: B256,
}

impl Default for AccountInfo {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY }
    }
}

impl AccountInfo {
    /// True when the account carries code (a contract, or an EOA with an EIP-7702 delegation).
    pub fn has_code(&self) -> bool {
        self.code_hash != KECCAK256_EMPTY
    }

    /// True when the account is empty in the sense of EIP-161 (storage not considered).
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && !self.has_code()
    }
}
