// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { Memory } from "@openzeppelin/contracts/utils/Memory.sol";
import { RLP } from "@openzeppelin/contracts/utils/RLP.sol";
import { Rfc6962 } from "l1/Rfc6962.sol";
import { SubBlocks } from "l1/SubBlocks.sol";

/// @title CheckpointProofs: what can be shown against a committed app hash
/// @notice Every proof begins with headers: the first is the checkpoint's own sub-block, each further one is its parent, and
///         the last is the one that the question is about. A header names its parent's app hash, so one checkpoint proves
///         everything before it. From a header on, paths are those of RFC 6962 trees.
abstract contract CheckpointProofs {
    using RLP for Memory.Slice;
    using SubBlocks for SubBlocks.SubBlock;

    /// @notice Where the accounts are found in the ledger's commitment (plait/ledger/encoding.py, economy.py).
    struct LedgerShape {
        uint32 economyLeaf; // place of the economy's root among the ledger's leaves
        uint32 accountsLeaf; // place of the accounts' root among the economy's leaves
        uint32 economyLeaves;
    }

    /// @notice A sub-block at or before a checkpoint: headers from the checkpoint's own down to the one that is meant.
    struct SubBlockProof {
        uint64 checkpoint; // height
        bytes[] headers;
    }

    /// @notice The way up from a leaf of a tree. A wrong count may pass with a fitting index, so what a leaf is must follow
    ///         from its content, or from an index and a count that are given from elsewhere.
    struct Place {
        uint256 index;
        uint256 count;
        bytes32[] path;
    }

    /// @notice Way from a row of the ledger's accounts up to the ledger's root.
    struct AccountProof {
        bytes row; // [address, [balance, nonce]]
        Place bucket; // of the row among those of its bucket
        bytes32[][] branchPaths; // from the bucket's parent up; a branch has 17 leaves (plait/ledger/hash_tree.py)
        bytes32[] economyPath; // of the accounts' root
        uint256 ledgerLeaves;
        bytes32[] ledgerPath; // of the economy's root
    }

    uint256 private constant BRANCH_LEAVES = 17;
    uint256 private constant DEPTH_MAX = 64; // hex digits of a key's hash

    uint64 public immutable networkId;

    error CheckpointUnknown(uint64 height);
    error HeaderWrong(uint256 place, bytes32 given, bytes32 expected);
    error NetworkWrong(uint256 given, uint256 expected);
    error NoHeaders();
    error ProofWrong();

    constructor(uint64 network) {
        networkId = network;
    }

    /// @dev App hash of a committed height, zero for any other; reverts when nothing is to be trusted.
    function appHashOf(uint64 height) public view virtual returns (bytes32);

    function ledgerShapeOf() public view virtual returns (LedgerShape memory);

    /// @notice The sub-block that the last header is of: its height, agreed time, app hash and ledger root.
    function verifySubBlock(SubBlockProof calldata where)
        external
        view
        returns (uint64 height, uint256 timeMs, bytes32 appHash, bytes32 ledgerRoot)
    {
        SubBlocks.SubBlock memory found = _follow(where);
        return (found.height, found.timeMs(), found.appHash, found.ledgerRoot());
    }

    /// @notice Hash of a rollup's block that the last header's sub-block sealed, and that sub-block's agreed time; the hash
    ///         is zero when it sealed no block of that number.
    function verifySealedBlock(SubBlockProof calldata where, uint64 rollupId, uint64 number)
        external
        view
        returns (bytes32 blockHash, uint256 timeMs)
    {
        SubBlocks.SubBlock memory found = _follow(where);
        return (found.sealedHash(rollupId, number), found.timeMs());
    }

    /// @notice Whether `item` is among the items that the last header's sub-block has for a rollup. Where it is among them is
    ///         shown as far as the place's count is known to be right: no header says it.
    function verifyItem(SubBlockProof calldata where, uint64 rollupId, bytes calldata item, Place calldata place)
        external
        view
        returns (bool)
    {
        bytes32 root = _follow(where).itemsRoot(rollupId);
        return root != 0 && _rootFrom(Rfc6962.leafHash(item), place) == root;
    }

    /// @notice Whether `leaf` is among the leaves of the ledger after the last header's sub-block.
    function verifyLedgerLeaf(SubBlockProof calldata where, bytes calldata leaf, Place calldata place)
        external
        view
        returns (bool)
    {
        return _rootFrom(Rfc6962.leafHash(leaf), place) == _follow(where).ledgerRoot();
    }

    /// @notice Balance and nonce of a ledger account after the last header's sub-block. Reverts when the proof is wrong.
    function verifyAccount(SubBlockProof calldata where, address account, AccountProof calldata proof)
        external
        view
        returns (uint256 balance, uint256 nonce)
    {
        if (_ledgerRootFrom(account, proof) != _follow(where).ledgerRoot()) revert ProofWrong();
        Memory.Slice[] memory row = RLP.decodeList(proof.row);
        bytes memory key = row[0].readBytes();
        if (row.length != 2 || key.length != 20 || bytes20(key) != bytes20(account)) revert ProofWrong();
        Memory.Slice[] memory record = row[1].readList();
        if (record.length != 2) revert ProofWrong();
        return (record[0].readUint256(), record[1].readUint256());
    }

    function _follow(SubBlockProof calldata where) private view returns (SubBlocks.SubBlock memory found) {
        if (where.headers.length == 0) revert NoHeaders();
        bytes32 expected = appHashOf(where.checkpoint);
        if (expected == 0) revert CheckpointUnknown(where.checkpoint);
        for (uint256 i = 0; i < where.headers.length; ++i) {
            found = SubBlocks.read(where.headers[i]);
            if (found.appHash != expected) revert HeaderWrong(i, found.appHash, expected);
            expected = found.parentAppHash();
        }
        if (found.networkId() != networkId) revert NetworkWrong(found.networkId(), networkId);
    }

    /// @dev Ledger root that follows from a row. Only the ledger's own count of leaves is the proof's word: a leaf that another
    ///      count could put in the economy's place is a rollup's record, and none has the 32 bytes of a root. A tree's branch is chosen by hex digits of its key's SHA-256, so a row is
    ///      proven where the ledger would look for it and nowhere else.
    function _ledgerRootFrom(address account, AccountProof calldata proof) private view returns (bytes32 found) {
        LedgerShape memory shape_ = ledgerShapeOf();
        bytes32 keyHash = sha256(abi.encodePacked(account));
        uint256 depth = proof.branchPaths.length;
        if (depth > DEPTH_MAX) revert ProofWrong();
        found = _rootFrom(Rfc6962.leafHash(proof.row), proof.bucket);
        for (uint256 i = 0; i < depth; ++i) {
            uint256 digit = (uint256(keyHash) >> (256 - 4 * (depth - i))) & 15;
            found = _up(found, 1 + digit, BRANCH_LEAVES, proof.branchPaths[i]);
        }
        found = _up(found, shape_.accountsLeaf, shape_.economyLeaves, proof.economyPath);
        found = _up(found, shape_.economyLeaf, proof.ledgerLeaves, proof.ledgerPath);
    }

    function _rootFrom(bytes32 hash, Place calldata place) private pure returns (bytes32) {
        return Rfc6962.rootFrom(hash, place.index, place.count, place.path);
    }

    /// @dev Root of the tree in which the root of another is a leaf.
    function _up(bytes32 leaf, uint256 index, uint256 size, bytes32[] calldata path) private pure returns (bytes32) {
        return Rfc6962.rootFrom(Rfc6962.leafHash(abi.encodePacked(leaf)), index, size, path);
    }
}
