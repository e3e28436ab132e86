// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Rfc6962: Merkle trees over SHA-256, as the network's commitments are made of
/// @notice Leaf hash = SHA-256(0x00, leaf), node hash = SHA-256(0x01, left, right), split at the largest power of two below
///         the size (RFC 6962, 2.1; verification as in RFC 9162, 2.1.3.2). The same trees as plait/crypto/merkle.py.
library Rfc6962 {
    function leafHash(bytes memory leaf) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(hex"00", leaf));
    }

    /// @notice Tree hash over leaf hashes, which are overwritten; at least one.
    function rootOf(bytes32[] memory hashes) internal pure returns (bytes32) {
        uint256 size = hashes.length;
        while (size > 1) {
            uint256 half = size / 2;
            for (uint256 i = 0; i < half; ++i) {
                hashes[i] = _nodeHash(hashes[2 * i], hashes[2 * i + 1]);
            }
            if (size & 1 == 1) hashes[half] = hashes[size - 1]; // a level's odd last node moves up unchanged
            size = half + (size & 1);
        }
        return hashes[0];
    }

    /// @notice Root that follows when the leaf with this hash is at `index` of `size` leaves and `path` leads up from it;
    ///         zero where such a path cannot be.
    function rootFrom(bytes32 found, uint256 index, uint256 size, bytes32[] calldata path) internal pure returns (bytes32) {
        if (index >= size) return 0;
        uint256 last = size - 1;
        for (uint256 i = 0; i < path.length; ++i) {
            if (last == 0) return 0;
            if (index & 1 == 1 || index == last) {
                found = _nodeHash(path[i], found);
                while (index & 1 == 0 && index != 0) {
                    index >>= 1;
                    last >>= 1;
                }
            } else {
                found = _nodeHash(found, path[i]);
            }
            index >>= 1;
            last >>= 1;
        }
        return last == 0 ? found : bytes32(0);
    }

    function _nodeHash(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(abi.encodePacked(hex"01", left, right));
    }
}
