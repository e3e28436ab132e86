// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { Memory } from "@openzeppelin/contracts/utils/Memory.sol";
import { RLP } from "@openzeppelin/contracts/utils/RLP.sol";

/// @title SubBlocks: reads headers of the network's sub-blocks
/// @notice header   = [version, network_id, height, slot, sub_index, time_ms, parent_app_hash, [l1_number, l1_hash],
///                    [[rollup_id, items_root], ...], rollups_root, ids_root, [[rollup_id, [[number, hash], ...]], ...],
///                    ledger_root, actions_root, bundles_root]                      (docs/protocol.md, 2)
///         app hash = SHA-256([height, SHA-256(header), ledger_root])                (docs/protocol.md, 3)
/// @dev Only headers whose app hash is known from elsewhere are read for good, so their encoding is the network's own.
library SubBlocks {
    using RLP for Memory.Slice;

    uint256 internal constant VERSION = 2;
    uint256 private constant FIELDS = 15;

    error HeaderMalformed();

    /// @dev Where things stand in a header's memory; `fields` point into it.
    struct SubBlock {
        uint64 height;
        bytes32 appHash;
        Memory.Slice[] fields;
    }

    function read(bytes memory header) internal pure returns (SubBlock memory found) {
        found.fields = RLP.decodeList(header);
        if (found.fields.length != FIELDS || found.fields[0].readUint256() != VERSION) revert HeaderMalformed();
        found.height = uint64(found.fields[2].readUint256());
        found.appHash = appHashOf(found.height, sha256(header), ledgerRoot(found));
    }

    function appHashOf(uint64 height, bytes32 headerHash, bytes32 root) internal pure returns (bytes32) {
        return sha256(RLP.encode(RLP.push(RLP.push(RLP.push(RLP.encoder(), uint256(height)), headerHash), root)));
    }

    function networkId(SubBlock memory found) internal pure returns (uint256) {
        return found.fields[1].readUint256();
    }

    function timeMs(SubBlock memory found) internal pure returns (uint256) {
        return found.fields[5].readUint256();
    }

    function parentAppHash(SubBlock memory found) internal pure returns (bytes32) {
        return found.fields[6].readBytes32();
    }

    function ledgerRoot(SubBlock memory found) internal pure returns (bytes32) {
        return found.fields[12].readBytes32();
    }

    /// @notice Root over a rollup's items of this sub-block; zero when the rollup is not in the network.
    function itemsRoot(SubBlock memory found, uint256 rollupId) internal pure returns (bytes32) {
        Memory.Slice[] memory entries = found.fields[8].readList();
        for (uint256 i = 0; i < entries.length; ++i) {
            Memory.Slice[] memory entry = entries[i].readList();
            if (entry[0].readUint256() == rollupId) return entry[1].readBytes32();
        }
        return 0;
    }

    /// @notice Hash of a rollup's block that this sub-block sealed; zero when it sealed no such block.
    function sealedHash(SubBlock memory found, uint256 rollupId, uint256 number) internal pure returns (bytes32) {
        Memory.Slice[] memory entries = found.fields[11].readList();
        for (uint256 i = 0; i < entries.length; ++i) {
            Memory.Slice[] memory entry = entries[i].readList();
            if (entry[0].readUint256() != rollupId) continue;
            Memory.Slice[] memory blocks = entry[1].readList();
            for (uint256 j = 0; j < blocks.length; ++j) {
                Memory.Slice[] memory pair = blocks[j].readList();
                if (pair[0].readUint256() == number) return pair[1].readBytes32();
            }
        }
        return 0;
    }
}
