// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title DeterministicDeployer: CREATE2 for everyone, at 0x4e59b44847b379578588920cA78FbF26c0B4956C where tools look for it
/// @notice Written by us to the published behaviour: calldata is a 32-byte salt and the init code, the answer is the new
///         contract's address as 20 bytes, and a failed creation reverts.
contract DeterministicDeployer {
    fallback(bytes calldata input) external payable returns (bytes memory) {
        bytes32 salt = bytes32(input[:32]);
        bytes memory code = input[32:];
        address created;
        assembly ("memory-safe") {
            created := create2(callvalue(), add(code, 32), mload(code), salt)
        }
        require(created != address(0));
        return abi.encodePacked(created);
    }
}
