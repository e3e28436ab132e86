//! The rules of one rollup: chain id, EVM rules, EIP-1559 parameters, and what a header's `extraData` says.
//!
//! All forks are active from genesis on (a fork after genesis is refused when the genesis is read), so the rules never change
//! during a rollup's life. Karst, Interop and Lagoon execute under Jovian's rules, as op-geth v1.101702.3 does.
//! Sources: OP Stack specs (holocene, isthmus, jovian exec-engine), EIP-1559, op-geth `consensus/misc/eip1559`.

use alloy_consensus::Header;
use alloy_primitives::{b256, Bytes, B256};
use op_revm::OpSpecId;

use crate::error::{CoreError, Result};

/// sha256 of nothing: the requests hash of a block without requests (EIP-7685).
pub const EMPTY_REQUESTS_HASH: B256 = b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// The fixed rules of a rollup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// EVM and fee rules.
    pub spec: OpSpecId,
    /// EIP-1559 base fee change denominator where no header or attribute names one.
    pub denominator: u64,
    /// EIP-1559 elasticity where no header or attribute names one.
    pub elasticity: u64,
}

/// EIP-1559 parameters written in a header's `extraData`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeParameters {
    /// Base fee change denominator.
    pub denominator: u64,
    /// Elasticity multiplier.
    pub elasticity: u64,
    /// Smallest base fee, wei; 0 before Jovian.
    pub base_fee_min: u64,
}

impl Chain {
    /// Whether `spec` or a later one is active.
    pub fn has(&self, spec: OpSpecId) -> bool {
        self.spec.is_enabled_in(spec)
    }

    /// `extraData` of a block built with these parameters; zero denominator and elasticity mean the chain's own.
    ///
    /// # Errors
    /// `attributes_invalid` when only one of denominator and elasticity is zero or either exceeds 32 bits.
    pub fn extra_data(&self, denominator: u64, elasticity: u64, base_fee_min: u64) -> Result<Bytes> {
        if !self.has(OpSpecId::HOLOCENE) {
            return Ok(Bytes::new());
        }
        if (denominator == 0) != (elasticity == 0) {
            return Err(CoreError::new(
                "attributes_invalid",
                "EIP-1559 denominator and elasticity are either both zero (the chain's own) or both positive",
            ));
        }
        let (denominator, elasticity) =
            if denominator == 0 { (self.denominator, self.elasticity) } else { (denominator, elasticity) };
        let (Ok(denominator), Ok(elasticity)) = (u32::try_from(denominator), u32::try_from(elasticity)) else {
            return Err(CoreError::new("attributes_invalid", "EIP-1559 parameters are 32-bit numbers"));
        };
        let jovian = self.has(OpSpecId::JOVIAN);
        let mut extra = Vec::with_capacity(17);
        extra.push(u8::from(jovian));
        extra.extend_from_slice(&denominator.to_be_bytes());
        extra.extend_from_slice(&elasticity.to_be_bytes());
        if jovian {
            extra.extend_from_slice(&base_fee_min.to_be_bytes());
        }
        Ok(extra.into())
    }

    /// The parameters a parent header sets for its child.
    pub fn fee_parameters(&self, parent: &Header) -> FeeParameters {
        let extra = &parent.extra_data;
        let own = FeeParameters { denominator: self.denominator, elasticity: self.elasticity, base_fee_min: 0 };
        if !self.has(OpSpecId::HOLOCENE) || !matches!(extra.len(), 9 | 17) {
            return own;
        }
        let word = |at: usize| u64::from(u32::from_be_bytes(extra[at..at + 4].try_into().expect("four bytes")));
        let base_fee_min =
            if extra.len() == 17 { u64::from_be_bytes(extra[9..17].try_into().expect("eight bytes")) } else { 0 };
        let base_fee_min = if self.has(OpSpecId::JOVIAN) { base_fee_min } else { 0 };
        FeeParameters { denominator: word(1).max(1), elasticity: word(5).max(1), base_fee_min }
    }

    /// Base fee of the child of `parent`, wei per gas (EIP-1559; from Jovian on the larger of gas and DA footprint is metered).
    pub fn next_base_fee(&self, parent: &Header) -> u64 {
        let fees = self.fee_parameters(parent);
        let target = (parent.gas_limit / fees.elasticity).max(1);
        let mut metered = parent.gas_used;
        if self.has(OpSpecId::JOVIAN) {
            metered = metered.max(parent.blob_gas_used.unwrap_or(0));
        }
        let fee = u128::from(parent.base_fee_per_gas.unwrap_or(0));
        let step = |delta: u64| fee * u128::from(delta) / u128::from(target) / u128::from(fees.denominator);
        let next = match metered.cmp(&target) {
            std::cmp::Ordering::Equal => fee,
            std::cmp::Ordering::Greater => fee + step(metered - target).max(1),
            std::cmp::Ordering::Less => fee.saturating_sub(step(target - metered)),
        };
        u64::try_from(next).unwrap_or(u64::MAX).max(fees.base_fee_min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(spec: OpSpecId) -> Chain {
        Chain { chain_id: 901, spec, denominator: 250, elasticity: 6 }
    }

    #[test]
    fn extra_data_of_jovian_and_holocene_match_the_specification() {
        let jovian = chain(OpSpecId::JOVIAN).extra_data(0, 0, 0).unwrap();
        assert_eq!(alloy_primitives::hex::encode(&jovian), "01000000fa000000060000000000000000");
        let holocene = chain(OpSpecId::ISTHMUS).extra_data(250, 6, 9).unwrap();
        assert_eq!(alloy_primitives::hex::encode(&holocene), "00000000fa00000006");
        assert!(chain(OpSpecId::GRANITE).extra_data(250, 6, 9).unwrap().is_empty());
        assert_eq!(chain(OpSpecId::JOVIAN).extra_data(1, 0, 0).unwrap_err().code, "attributes_invalid");
    }

    #[test]
    fn base_fee_falls_by_a_fraction_of_the_missing_gas_and_never_below_the_minimum() {
        let chain = chain(OpSpecId::JOVIAN);
        let mut parent = Header {
            gas_limit: 30_000_000,
            gas_used: 0,
            base_fee_per_gas: Some(1_000_000_000),
            blob_gas_used: Some(0),
            extra_data: chain.extra_data(250, 6, 0).unwrap(),
            ..Default::default()
        };
        assert_eq!(chain.next_base_fee(&parent), 996_000_000);
        parent.blob_gas_used = Some(30_000_000);
        assert_eq!(chain.next_base_fee(&parent), 1_020_000_000);
        parent.blob_gas_used = Some(0);
        parent.extra_data = chain.extra_data(250, 6, 2_000_000_000).unwrap();
        assert_eq!(chain.next_base_fee(&parent), 2_000_000_000);
    }
}
