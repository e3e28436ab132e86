// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { Identifier } from "interop/Identifier.sol";

/// @title CrossL2Inbox: a log of another rollup is executed here (predeploy 0x4200000000000000000000000000000000000022)
/// @notice Written by us to the published interface (OP Stack specs: interop predeploys). This contract knows no other
///         rollup. It holds the transaction to what its access list declares: whoever orders the transaction has checked
///         the declared messages, and a declared storage key is warm (EIP-2929) while any other is cold.
contract CrossL2Inbox {
    /// @dev A cold read costs 2,100 gas and a warm one 100 (EIP-2929); with its surroundings a warm one stays far below.
    uint256 internal constant WARM_READ_GAS_MAX = 1000;

    event ExecutingMessage(bytes32 indexed msgHash, Identifier id);

    error NotInAccessList();
    error BlockNumberTooHigh();
    error TimestampTooHigh();
    error LogIndexTooHigh();

    /// @notice Says that the log with this identifier and this payload hash is executed.
    /// @dev Reverts unless the access list holds the message's checksum as a storage key of this contract.
    function validateMessage(Identifier calldata _id, bytes32 _msgHash) external {
        if (!_isWarm(calculateChecksum(_id, _msgHash))) revert NotInAccessList();
        emit ExecutingMessage(_msgHash, _id);
    }

    /// @notice Commitment to the position and content of a log. Its first byte is 3, the type of its access-list entry.
    function calculateChecksum(Identifier memory _id, bytes32 _msgHash) public pure returns (bytes32 checksum_) {
        if (_id.blockNumber > type(uint64).max) revert BlockNumberTooHigh();
        if (_id.logIndex > type(uint32).max) revert LogIndexTooHigh();
        if (_id.timestamp > type(uint64).max) revert TimestampTooHigh();
        bytes32 logHash = keccak256(abi.encodePacked(_id.origin, _msgHash));
        // the timestamp stands before the log index here, unlike in the struct
        uint256 position = (_id.blockNumber << 96) | (_id.timestamp << 32) | _id.logIndex;
        bytes32 placed = keccak256(abi.encodePacked(logHash, position));
        uint256 bare = uint256(keccak256(abi.encodePacked(placed, _id.chainId)));
        checksum_ = bytes32((bare & (type(uint256).max >> 8)) | (uint256(3) << 248));
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }

    function _isWarm(bytes32 _slot) private view returns (bool warm_) {
        uint256 used;
        uint256 value;
        assembly {
            let before := gas()
            value := sload(_slot)
            used := sub(before, gas())
        }
        // nothing is ever stored here; using the value keeps the optimizer from dropping the read
        warm_ = used <= WARM_READ_GAS_MAX && value == 0;
    }
}
