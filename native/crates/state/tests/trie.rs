//! The state trie against alloy-trie: roots, reads, forks, proofs.

mod common;

use alloy_primitives::{b256, keccak256, Address, B256, U256};
use alloy_trie::proof::verify_proof;
use alloy_trie::Nibbles;
use common::{address, populated, trie_account, Model, Numbers};
use plait_state::{AccountChange, AccountFate, AccountInfo, Found, Key, StateChanges, StateTrie};
use proptest::prelude::*;

const EMPTY_ROOT: B256 = b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");

/// Keys that collide on long prefixes: few distinct bytes, differences early, in the middle or in the last nibble.
fn hostile_key() -> impl Strategy<Value = B256> {
    (0_u8..3, prop_oneof![Just(0_usize), Just(1), Just(15), Just(30), Just(31)], any::<u8>()).prop_map(
        |(fill, at, byte)| {
            let mut key = B256::repeat_byte(fill);
            key[at] = byte & 0x31;
            key
        },
    )
}

fn plain_key() -> impl Strategy<Value = B256> {
    (0_u64..40).prop_map(|number| keccak256(address(number)))
}

fn any_key() -> impl Strategy<Value = B256> {
    prop_oneof![hostile_key(), plain_key()]
}

fn slot_value() -> impl Strategy<Value = U256> {
    prop_oneof![
        3 => Just(U256::ZERO),
        2 => (0_u64..300).prop_map(U256::from),
        1 => any::<[u8; 32]>().prop_map(U256::from_be_bytes),
    ]
}

fn account_info() -> impl Strategy<Value = AccountInfo> {
    let code_hash =
        prop_oneof![3 => Just(AccountInfo::default().code_hash), 1 => any::<[u8; 32]>().prop_map(B256::new)];
    let balance = prop_oneof![(0_u64..300).prop_map(U256::from), any::<[u8; 32]>().prop_map(U256::from_be_bytes)];
    let nonce = prop_oneof![0_u64..300, any::<u64>()];
    (nonce, balance, code_hash).prop_map(|(nonce, balance, code_hash)| AccountInfo { nonce, balance, code_hash })
}

fn account_change() -> impl Strategy<Value = AccountChange> {
    let fate = prop_oneof![
        3 => account_info().prop_map(AccountFate::Set),
        2 => Just(AccountFate::Keep),
        2 => Just(AccountFate::Delete),
    ];
    let slots = prop::collection::btree_map(any_key(), slot_value(), 0..12);
    (any_key(), fate, prop::bool::weighted(0.2), slots).prop_map(|(address, fate, storage_wiped, slots)| {
        AccountChange {
            address: address.into(),
            fate,
            storage_wiped,
            slots: slots.into_iter().map(|(slot, value)| (Key::Hashed(slot), value)).collect(),
        }
    })
}

fn batch() -> impl Strategy<Value = StateChanges> {
    prop::collection::vec(account_change(), 0..24).prop_map(|changes| {
        let mut seen = std::collections::HashSet::new();
        changes.into_iter().filter(|change| seen.insert(change.address.hashed())).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// After every batch of sets, deletions, wipes and slot writes, root and content are what HashBuilder and a plain map say,
    /// and every earlier state still is what it was.
    #[test]
    fn batches_equal_the_oracle_and_leave_the_past_alone(batches in prop::collection::vec(batch(), 1..8), hash_between in any::<u8>()) {
        let (mut state, mut model) = (StateTrie::default(), Model::default());
        let mut history = Vec::new();
        for (round, changes) in batches.into_iter().enumerate() {
            model.apply(&changes);
            state = state.apply(changes);
            if hash_between >> (round % 8) & 1 == 1 {
                prop_assert_eq!(state.root(), model.root());
            }
            history.push((state.clone(), model.clone()));
        }
        for (state, model) in &history {
            model.check(state);
        }
    }

    /// Two different continuations of one unhashed state do not see each other.
    #[test]
    fn forks_are_independent(base in batch(), left in batch(), right in batch()) {
        let mut model = Model::default();
        model.apply(&base);
        let state = StateTrie::default().apply(base);
        let (mut left_model, mut right_model) = (model.clone(), model.clone());
        left_model.apply(&left);
        right_model.apply(&right);
        let (left_state, right_state) = (state.apply(left), state.apply(right));
        left_model.check(&left_state);
        right_model.check(&right_state);
        model.check(&state);
    }

    /// Proofs of present and absent accounts and slots satisfy alloy-trie's verifier, and of nothing else.
    #[test]
    fn proofs_verify(batches in prop::collection::vec(plain_batch(), 1..5), wanted in 0_u64..30) {
        let (mut state, mut model) = (StateTrie::default(), Model::default());
        for changes in batches {
            model.apply(&changes);
            state = state.apply(changes);
        }
        let asked: Vec<U256> = (0..24).map(U256::from).collect();
        let proof = state.account_proof(address(wanted), &asked);
        let key = keccak256(address(wanted));
        let entry = model.accounts.get(&key);
        prop_assert_eq!(proof.info, entry.map(|entry| entry.0));
        let expected = entry.map(|(info, slots)| alloy_rlp::encode(trie_account(info, slots)));
        let root = state.root();
        prop_assert!(verify_proof(root, Nibbles::unpack(key), expected.clone(), &proof.nodes).is_ok());
        let forged = if expected.is_some() { None } else { Some(vec![0xc0]) };
        prop_assert!(verify_proof(root, Nibbles::unpack(key), forged, &proof.nodes).is_err());
        for slot in proof.slots {
            let key = keccak256(slot.slot.to_be_bytes::<32>());
            prop_assert_eq!(slot.value, entry.and_then(|entry| entry.1.get(&key)).copied().unwrap_or_default());
            let expected = (!slot.value.is_zero()).then(|| alloy_rlp::encode(slot.value));
            prop_assert!(verify_proof(proof.storage_root, Nibbles::unpack(key), expected, &slot.nodes).is_ok());
        }
    }
}

/// Batches over plain keys, as executors make them.
fn plain_batch() -> impl Strategy<Value = StateChanges> {
    let slots = prop::collection::btree_map(0_u64..24, slot_value(), 0..16);
    prop::collection::btree_map(0_u64..30, (prop::option::of(account_info()), slots), 0..20).prop_map(|accounts| {
        accounts
            .into_iter()
            .map(|(number, (info, slots))| {
                let mut change = match info {
                    Some(info) => AccountChange::set(address(number), info),
                    None => AccountChange::delete(address(number)),
                };
                change.slots = slots.into_iter().map(|(slot, value)| (Key::from(U256::from(slot)), value)).collect();
                change
            })
            .collect()
    })
}

/// The empty state has the root that the Yellow Paper's definition gives, and proves every absence with no node.
#[test]
fn empty_state_has_the_known_root() {
    let state = StateTrie::default();
    assert_eq!(state.root(), EMPTY_ROOT);
    assert_eq!(state.storage_root(Address::ZERO), EMPTY_ROOT);
    let proof = state.account_proof(Address::ZERO, &[U256::ZERO]);
    assert_eq!((proof.info, proof.nodes.len(), proof.slots[0].nodes.len()), (None, 0, 0));
}

/// One account alone: the root is the hash of its leaf, written out by hand from the Yellow Paper.
#[test]
fn a_single_account_is_hashed_as_the_yellow_paper_says() {
    let who = address(7);
    let info = AccountInfo { nonce: 1, balance: U256::from(0x1234), ..Default::default() };
    let state = StateTrie::default().apply([AccountChange::set(who, info)].into_iter().collect());
    let mut account = vec![0xf8, 0x46, 0x01, 0x82, 0x12, 0x34, 0xa0];
    account.extend(EMPTY_ROOT);
    account.push(0xa0);
    account.extend(keccak256([]));
    let mut leaf = vec![0xf8, 0x6c, 0xa1, 0x20];
    account[1] = (account.len() - 2) as u8;
    leaf.extend(keccak256(who));
    leaf.extend([0xb8, account.len() as u8]);
    leaf.extend(&account);
    leaf[1] = (leaf.len() - 2) as u8;
    assert_eq!(state.root(), keccak256(leaf));
}

/// Batches large enough for every parallel path give the oracle's root, from scratch and as updates, on accounts and on one contract's slots.
#[test]
fn large_batches_equal_the_oracle() {
    let mut numbers = Numbers(11);
    let (mut state, mut model) = (StateTrie::default(), Model::default());
    for round in 0..4 {
        let mut changes = StateChanges::default();
        for number in 1..6_000_u64 {
            match numbers.below(4) {
                0 if round > 0 => changes.push(AccountChange::delete(address(number))),
                1 => {}
                _ => changes.push(AccountChange::set(
                    address(number),
                    AccountInfo { nonce: round, balance: U256::from(numbers.next()), ..Default::default() },
                )),
            }
        }
        let mut contract = AccountChange::keep(address(0));
        contract.slots.extend((0..6_000_u64).filter_map(|slot| match numbers.below(3) {
            0 => None,
            1 => Some((U256::from(slot).into(), U256::ZERO)),
            _ => Some((U256::from(slot).into(), U256::from(numbers.next()))),
        }));
        changes.push(contract);
        model.apply(&changes);
        state = state.apply(changes);
        model.check(&state);
    }
}

/// A batch that changes nothing gives the same version, so that nothing has to be hashed again.
#[test]
fn a_batch_without_effect_keeps_the_version() {
    let state = populated(500, 500);
    let mut changes = StateChanges::default();
    changes.push(AccountChange::set(address(3), state.account(address(3)).unwrap()));
    changes.push(AccountChange::delete(address(9_999)));
    changes.push(
        AccountChange::keep(address(0))
            .with_slot(U256::from(5), U256::from(26))
            .with_slot(U256::from(9_999), U256::ZERO),
    );
    changes.push(AccountChange::keep(address(8_888)).with_slot(U256::from(1), U256::ZERO));
    assert!(state.apply(changes).is_same_version(&state));
}

/// An account named twice in a batch is a broken caller and stops it.
#[test]
#[should_panic(expected = "appears twice")]
fn a_repeated_account_is_refused() {
    let twice = [AccountChange::delete(address(1)), AccountChange::delete(address(1))];
    StateTrie::default().apply(twice.into_iter().collect());
}

/// Readers, writers and hashers on shared versions agree, whatever the interleaving.
#[test]
fn concurrent_hashing_and_forking_agree() {
    let base = populated(3_000, 3_000);
    let roots: Vec<(B256, B256)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4_u64)
            .map(|worker| {
                let base = base.clone();
                scope.spawn(move || {
                    let info = AccountInfo { nonce: 99, ..Default::default() };
                    let changes = (1..500).map(|number| AccountChange::set(address(number + worker % 2), info));
                    let fork = base.apply(changes.collect());
                    (base.root(), fork.root())
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(roots.iter().all(|pair| pair.0 == roots[0].0));
    assert_eq!((roots[0].1, roots[1].1), (roots[2].1, roots[3].1));
    assert_ne!(roots[0].1, roots[1].1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Undoing needs no more than the two versions: applied to the new one, the changes give the old one, root and content.
    #[test]
    fn changes_back_lead_to_the_older_version(seed in any::<u64>(), size in 0_u64..400, edits in 0_u64..60) {
        let word = |round: u64, at: u64| {
            U256::from_be_bytes(keccak256([seed.to_be_bytes(), round.to_be_bytes(), at.to_be_bytes()].concat()).0)
        };
        let change = |round: u64, at: u64| {
            let random = word(round, at);
            let address = Address::left_padding_from(&(random % U256::from(size.max(1) * 2)).to_be_bytes::<32>()[30..]);
            let account = match random.byte(9) % 4 {
                0 if round > 0 => AccountChange::delete(address),
                1 => AccountChange::keep(address),
                _ => AccountChange::set(address, AccountInfo { nonce: round, balance: random, ..Default::default() }),
            };
            let slots = if matches!(account.fate, plait_state::AccountFate::Delete) { 0 } else { random.byte(10) % 6 };
            (0..slots).fold(account, |account, slot| {
                let value = U256::from(random.byte(usize::from(slot)) % 3);
                account.with_slot(U256::from(slot), value)
            })
        };
        let changes = |round: u64, count: u64| {
            let mut seen = std::collections::BTreeMap::new();
            for at in 0..count {
                let change = change(round, at);
                seen.insert(change.address.hashed(), change);
            }
            seen.into_values().collect::<StateChanges>()
        };
        let old = StateTrie::default().apply(changes(0, size));
        let new = old.apply(changes(1, edits)).apply(changes(2, edits));
        let back = new.changes_back_to(&old);
        prop_assert!(back.len() as u64 <= 2 * edits, "what is shared is not looked at");
        let again = new.apply(back);
        prop_assert_eq!(again.root(), old.root());
        prop_assert!(again.changes_back_to(&old).is_empty());
        prop_assert!(old.changes_back_to(&old).is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A state of which only the touched paths are shown changes as the whole one does; what a branch waits for is told by hash.
    #[test]
    fn a_partly_known_state_has_the_root_of_the_whole_one(
        slots in prop::collection::btree_map(0_u64..60, 1_u64..9, 0..60),
        accounts in prop::collection::btree_set(0_u64..80, 0..80),
        changes in prop::collection::btree_map(0_u64..70, 0_u64..3, 0..40),
        gone in prop::collection::btree_set(0_u64..90, 0..30),
    ) {
        let contract = address(1_000);
        let mut keeper = AccountChange::set(contract, AccountInfo { nonce: 1, ..Default::default() });
        for (slot, value) in &slots {
            keeper = keeper.with_slot(U256::from(*slot), U256::from(*value));
        }
        let plain = |number: &u64| {
            AccountChange::set(address(*number), AccountInfo { nonce: *number + 1, ..Default::default() })
        };
        let whole = StateTrie::default().apply(accounts.iter().map(plain).chain([keeper]).collect());
        let every: Vec<U256> = (0..80).map(U256::from).collect();
        let mut nodes = std::collections::HashMap::new();
        for number in (0..100).chain([1_000]) {
            let proof = whole.account_proof(address(number), &every);
            for node in proof.nodes.into_iter().chain(proof.slots.into_iter().flat_map(|slot| slot.nodes)) {
                nodes.insert(keccak256(&node), node);
            }
        }
        let pool = |hash: &B256| nodes.get(hash).cloned();
        let nothing = |_: &B256| None;
        let part = StateTrie::hidden(whole.root());
        prop_assert!(part.reveal_account(contract, &nothing).is_err());
        for number in &gone {
            part.reveal_account(address(*number), &pool).unwrap();
        }
        part.reveal_account(contract, &pool).unwrap();
        for slot in changes.keys() {
            part.reveal_slot(contract, U256::from(*slot), &pool).unwrap();
            let value = slots.get(slot).map_or(Found::Absent, |value| Found::Value(U256::from(*value)));
            prop_assert_eq!(part.storage_trie(contract).find(U256::from(*slot)), value);
        }
        let edit = || -> StateChanges {
            let keep = changes.iter().fold(AccountChange::keep(contract), |change, (slot, value)| {
                change.with_slot(U256::from(*slot), U256::from(*value))
            });
            gone.iter().map(|number| AccountChange::delete(address(*number))).chain([keep]).collect()
        };
        let (expected, changed) = (whole.apply(edit()), part.apply(edit()));
        for waiting in changed.waiting(&nothing) {
            prop_assert!(nodes.contains_key(&waiting.hash));
        }
        prop_assert!(changed.waiting(&pool).is_empty());
        prop_assert_eq!(changed.settled().root(), expected.root());
        prop_assert_eq!(part.root(), whole.root());
    }
}
