// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Where a log is. Every field is a full word here; CrossL2Inbox checks the widths.
struct Identifier {
    address origin;
    uint256 blockNumber;
    uint256 logIndex;
    uint256 timestamp;
    uint256 chainId;
}
