// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { SlotDerivation } from "@openzeppelin/contracts/utils/SlotDerivation.sol";
import { TransientSlot } from "@openzeppelin/contracts/utils/TransientSlot.sol";
import { CheckpointProofs } from "l1/CheckpointProofs.sol";
import { Rfc6962 } from "l1/Rfc6962.sol";
import { Timelock } from "l1/Timelock.sol";

/// @title PlaitRegistry: which validators a network has, what they agreed on, and which rollups it serves
/// @notice Consensus keys are Ed25519, which the EVM cannot check at a bearable price. So validators attest here with the
///         secp256k1 key of their operator account, the one that controls their stake in the ledger, or with a key that this
///         account appointed. A set is committed as a hash over operators, consensus keys and powers, together with
///         CometBFT's own hash of it, which headers of the network name; the next set and every checkpoint need signatures of
///         more than two thirds of the current set's power.
///         A set that has not been renewed for `trustingPeriodS` is trusted no more: its stake may have left. Two
///         checkpoints of one height halt the registry. In both cases, and in no other, the timelock appoints a new set.
/// @dev Aggregated BLS12-381 signatures (EIP-2537) could replace the list in `_signedPower` without touching the rest.
contract PlaitRegistry is EIP712, CheckpointProofs {
    using SlotDerivation for bytes32;
    using TransientSlot for *;

    /// @notice One validator of a set. Sets are in CometBFT's order: by power, greatest first, then by consensus address.
    struct Validator {
        address operator;
        bytes32 publicKey; // Ed25519, what CometBFT knows it by
        uint64 power;
    }

    /// @notice Who signed, by places in the set, and their signatures in that order, 64 bytes each (EIP-2098).
    struct Signatures {
        uint256 places;
        bytes compact;
    }

    /// @notice What is kept of a set.
    struct Commitment {
        bytes32 setHash; // keccak256(abi.encode(Validator[]))
        bytes32 validatorsHash; // as headers of CometBFT name it
        uint64 totalPower;
        uint64 height; // first height at which it acts
        uint64 committedAt; // Unix seconds
    }

    /// @notice Where a rollup lives on L1.
    struct Rollup {
        address batchInbox;
        address portal;
        address systemConfig;
    }

    uint256 public constant VALIDATORS_MAX = 200;
    uint256 public constant TOTAL_POWER_MAX = uint256(uint64(type(int64).max)) / 8; // CometBFT's bound

    bytes32 private constant SET_TYPE = keccak256(
        "ValidatorSetUpdate(uint64 networkId,uint64 epoch,uint64 height,bytes32 previousSet,bytes32 newSet)"
    );
    bytes32 private constant CHECKPOINT_TYPE =
        keccak256("Checkpoint(uint64 networkId,uint64 epoch,uint64 height,bytes32 appHash)");
    bytes32 private constant ATTESTER_TYPE = keccak256("Attester(address operator,address attester,uint256 nonce)");
    bytes32 private constant SEEN_OPERATORS = keccak256("plait.registry.operators");
    bytes32 private constant SEEN_KEYS = keccak256("plait.registry.keys");

    Timelock public immutable timelock;
    uint256 public immutable trustingPeriodS;

    uint64 public epoch; // number of the current set, from 1
    uint64 public restartedAt; // Unix seconds of the last set that the timelock appointed
    uint64 public conflictHeight; // not 0 while the registry is halted
    mapping(uint64 => Commitment) public commitments; // by epoch
    mapping(uint64 => bytes32) private appHashes; // by height
    mapping(address => address) private attesters; // by operator
    mapping(address => address) public operatorOf; // by appointed attester
    mapping(address => uint256) public attesterNonces; // by operator
    mapping(uint64 => Rollup) private rollups; // by rollup id
    LedgerShape private shape;

    event SetCommitted(uint64 indexed epoch, bytes32 indexed setHash, bytes32 validatorsHash, uint64 totalPower, uint64 height);
    event CheckpointCommitted(uint64 indexed height, bytes32 indexed appHash, uint64 epoch);
    event Halted(uint64 indexed height, bytes32 first, bytes32 second);
    event Restarted(uint64 indexed epoch);
    event AttesterChanged(address indexed operator, address indexed attester);
    event RollupChanged(uint64 indexed rollupId, address batchInbox, address portal, address systemConfig);
    event LedgerShapeChanged(LedgerShape shape);

    error NotTimelock(address caller);
    error TrustingPeriodOutOfBounds(uint256 given);
    error OwnerWithoutDelay();
    error RegistryHalted(uint64 height);
    error RegistryUsable();
    error SetExpired(uint256 since);
    error SetUnknown(bytes32 given, bytes32 current);
    error SetEmpty();
    error SetTooLarge(uint256 validators);
    error SetUnordered(uint256 place);
    error ValidatorTwice(uint256 place);
    error OperatorZero(uint256 place);
    error PowerOutOfBounds(uint256 power);
    error HeightNotAbove(uint64 given, uint64 current);
    error HeightBeforeSet(uint64 given, uint64 first);
    error SignaturesMalformed();
    error PowerTooLow(uint256 signed, uint256 total);
    error AttesterTaken(address attester);
    error AttesterUnproven(address signer);
    error RollupUnknown(uint64 rollupId);
    error AppHashZero();

    modifier onlyTimelock() {
        if (msg.sender != address(timelock)) revert NotTimelock(msg.sender);
        _;
    }

    constructor(
        uint64 network,
        Timelock owner,
        uint256 trustS,
        LedgerShape memory ledgerShape,
        Validator[] memory set,
        uint64 height
    ) EIP712("PlaitRegistry", "1") CheckpointProofs(network) {
        if (trustS == 0 || trustS > 365 days) revert TrustingPeriodOutOfBounds(trustS);
        if (owner.getMinDelay() < 1 days) revert OwnerWithoutDelay();
        (timelock, trustingPeriodS, shape) = (owner, trustS, ledgerShape);
        _commitSet(set, height);
    }

    // ---------------------------------------------------------------- validators

    /// @notice Commits the next set; signed by more than two thirds of the current one's power. The same set may follow
    ///         itself: that renews its trust.
    function updateSet(Validator[] calldata current, Validator[] calldata next, uint64 height, Signatures calldata signatures)
        external
    {
        if (height <= commitments[epoch].height) revert HeightNotAbove(height, commitments[epoch].height);
        checkQuorum(setDigest(next, height), current, signatures);
        _commitSet(next, height);
    }

    /// @notice What validators of the current set sign for the next one.
    function setDigest(Validator[] calldata next, uint64 height) public view returns (bytes32) {
        bytes32 newSet = keccak256(abi.encode(next));
        bytes32 previous = commitments[epoch].setHash;
        return _hashTypedDataV4(keccak256(abi.encode(SET_TYPE, networkId, epoch + 1, height, previous, newSet)));
    }

    /// @notice Appoints the key that attests for the calling operator; the zero address goes back to the operator's own.
    /// @param signature The appointed key's over `attesterDigest`: nobody takes a key that is not theirs.
    function appointAttester(address attester, bytes calldata signature) external {
        if (operatorOf[attester] != address(0)) revert AttesterTaken(attester);
        if (attester != address(0)) {
            address signer = ECDSA.recoverCalldata(attesterDigest(msg.sender, attester), signature);
            if (signer != attester) revert AttesterUnproven(signer);
            operatorOf[attester] = msg.sender;
        }
        delete operatorOf[attesters[msg.sender]];
        attesters[msg.sender] = attester;
        ++attesterNonces[msg.sender];
        emit AttesterChanged(msg.sender, attester);
    }

    function attesterDigest(address operator, address attester) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(ATTESTER_TYPE, operator, attester, attesterNonces[operator])));
    }

    /// @notice Key that attests for an operator.
    function attesterOf(address operator) public view returns (address) {
        address appointed = attesters[operator];
        return appointed == address(0) ? operator : appointed;
    }

    /// @notice Whether this is the current set.
    function isCurrentSet(Validator[] calldata set) external view returns (bool) {
        return keccak256(abi.encode(set)) == commitments[epoch].setHash;
    }

    /// @notice Reverts unless more than two thirds of the current set's power signed `digest`. Other contracts pass digests
    ///         of their own EIP-712 domain and put the epoch into what is signed.
    function checkQuorum(bytes32 digest, Validator[] calldata set, Signatures calldata signatures) public view {
        if (conflictHeight != 0) revert RegistryHalted(conflictHeight);
        Commitment storage current = commitments[epoch];
        if (block.timestamp > current.committedAt + trustingPeriodS) revert SetExpired(current.committedAt + trustingPeriodS);
        bytes32 setHash = keccak256(abi.encode(set));
        if (setHash != current.setHash) revert SetUnknown(setHash, current.setHash);
        uint256 signed = _signedPower(digest, set, signatures);
        if (signed * 3 <= uint256(current.totalPower) * 2) revert PowerTooLow(signed, current.totalPower);
    }

    // ---------------------------------------------------------------- checkpoints

    /// @notice Records the network's state after a height, signed by more than two thirds of the current set's power. A
    ///         second app hash for a height is proof that a third of the power signs anything: it halts the registry.
    function commitCheckpoint(uint64 height, bytes32 appHash, Validator[] calldata set, Signatures calldata signatures)
        external
    {
        if (appHash == 0) revert AppHashZero();
        if (height < commitments[epoch].height) revert HeightBeforeSet(height, commitments[epoch].height);
        checkQuorum(checkpointDigest(height, appHash), set, signatures);
        bytes32 known = appHashes[height];
        if (known == appHash) return;
        if (known != 0) {
            conflictHeight = height;
            emit Halted(height, known, appHash);
            return;
        }
        appHashes[height] = appHash;
        emit CheckpointCommitted(height, appHash, epoch);
    }

    /// @notice What validators of the current set sign for a checkpoint.
    function checkpointDigest(uint64 height, bytes32 appHash) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CHECKPOINT_TYPE, networkId, epoch, height, appHash)));
    }

    /// @notice App hash of a height; zero while nobody committed one.
    function appHashOf(uint64 height) public view override returns (bytes32) {
        if (conflictHeight != 0) revert RegistryHalted(conflictHeight);
        return appHashes[height];
    }

    // ---------------------------------------------------------------- the timelock's

    /// @notice Appoints a set when the current one cannot go on: it expired, or the registry is halted.
    function restart(Validator[] calldata set, uint64 height) external onlyTimelock {
        bool expired = block.timestamp > commitments[epoch].committedAt + trustingPeriodS;
        if (!expired && conflictHeight == 0) revert RegistryUsable();
        if (conflictHeight != 0) delete appHashes[conflictHeight];
        (conflictHeight, restartedAt) = (0, uint64(block.timestamp));
        _commitSet(set, height);
        emit Restarted(epoch);
    }

    /// @notice Registers a rollup, changes where it lives, or with zero addresses takes it off the list.
    function setRollup(uint64 rollupId, Rollup calldata rollup) external onlyTimelock {
        rollups[rollupId] = rollup;
        emit RollupChanged(rollupId, rollup.batchInbox, rollup.portal, rollup.systemConfig);
    }

    /// @notice Follows a new version of the ledger's encoding.
    function setLedgerShape(LedgerShape calldata ledgerShape) external onlyTimelock {
        shape = ledgerShape;
        emit LedgerShapeChanged(ledgerShape);
    }

    function rollupOf(uint64 rollupId) external view returns (Rollup memory rollup) {
        rollup = rollups[rollupId];
        if (rollup.portal == address(0)) revert RollupUnknown(rollupId);
    }

    function ledgerShapeOf() public view override returns (LedgerShape memory) {
        return shape;
    }

    // ---------------------------------------------------------------- inside

    function _commitSet(Validator[] memory set, uint64 height) private {
        if (set.length == 0) revert SetEmpty();
        if (set.length > VALIDATORS_MAX) revert SetTooLarge(set.length);
        uint64 next = ++epoch;
        bytes32 seen = bytes32(uint256(next)); // several sets may be committed in one transaction
        bytes32[] memory leaves = new bytes32[](set.length);
        (uint256 total, uint64 powerBefore, bytes20 addressBefore) = (0, type(uint64).max, 0);
        for (uint256 i = 0; i < set.length; ++i) {
            Validator memory validator = set[i];
            if (validator.operator == address(0)) revert OperatorZero(i);
            if (validator.power == 0) revert PowerOutOfBounds(0);
            bytes20 consensusAddress = bytes20(sha256(abi.encodePacked(validator.publicKey)));
            bool after_ = validator.power < powerBefore
                || (validator.power == powerBefore && (i == 0 || consensusAddress > addressBefore));
            if (!after_) revert SetUnordered(i);
            _mark(SEEN_OPERATORS.deriveMapping(seen).deriveMapping(validator.operator), i);
            _mark(SEEN_KEYS.deriveMapping(seen).deriveMapping(validator.publicKey), i);
            leaves[i] = Rfc6962.leafHash(_simpleValidator(validator.publicKey, validator.power));
            total += validator.power;
            (powerBefore, addressBefore) = (validator.power, consensusAddress);
        }
        if (total > TOTAL_POWER_MAX) revert PowerOutOfBounds(total);
        bytes32 setHash = keccak256(abi.encode(set));
        bytes32 validatorsHash = Rfc6962.rootOf(leaves);
        commitments[next] = Commitment(setHash, validatorsHash, uint64(total), height, uint64(block.timestamp));
        emit SetCommitted(next, setHash, validatorsHash, uint64(total), height);
    }

    /// @dev Reverts when the slot is marked already in this transaction.
    function _mark(bytes32 slot, uint256 place) private {
        if (slot.asBoolean().tload()) revert ValidatorTwice(place);
        slot.asBoolean().tstore(true);
    }

    /// @dev CometBFT's SimpleValidator message: field 1 a public key whose field 1 are Ed25519 bytes, field 2 the power.
    function _simpleValidator(bytes32 publicKey, uint64 power) private pure returns (bytes memory encoded) {
        encoded = abi.encodePacked(hex"0a220a20", publicKey, hex"10");
        while (power >= 0x80) {
            encoded = abi.encodePacked(encoded, uint8((power & 0x7f) | 0x80));
            power >>= 7;
        }
        encoded = abi.encodePacked(encoded, uint8(power));
    }

    /// @dev Power of those who signed. A place is a bit, so nobody counts twice. A signature that is wrong counts nothing and
    ///      spoils nothing: else a validator that changes its attester just before could keep others from committing.
    function _signedPower(bytes32 digest, Validator[] calldata set, Signatures calldata signatures)
        private
        view
        returns (uint256 power)
    {
        uint256 places = signatures.places;
        bytes calldata compact = signatures.compact;
        if (places >> set.length != 0 || compact.length % 64 != 0) revert SignaturesMalformed();
        uint256 read = 0;
        for (uint256 place = 0; places >> place != 0; ++place) {
            if ((places >> place) & 1 == 0) continue;
            if (read + 64 > compact.length) revert SignaturesMalformed();
            (address signer, ECDSA.RecoverError failed,) =
                ECDSA.tryRecover(digest, bytes32(compact[read:read + 32]), bytes32(compact[read + 32:read + 64]));
            bool right = failed == ECDSA.RecoverError.NoError && signer == attesterOf(set[place].operator);
            if (right) power += set[place].power;
            read += 64;
        }
        if (read != compact.length) revert SignaturesMalformed();
    }
}
