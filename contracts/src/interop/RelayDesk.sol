// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { Identifier } from "interop/Identifier.sol";
import { L2ToL2CrossDomainMessenger } from "interop/L2ToL2CrossDomainMessenger.sol";
import { MESSENGER } from "interop/Predeploys.sol";

/// @title RelayDesk: delivers a message and says who brought it (predeploy 0x504c414954000000000000000000000000000001)
/// @notice The messenger's own event does not name the relayer. This one does, and RelayFees on the source pays by it.
///         The desk holds no state and no ether, and nothing but a delivery makes it emit.
contract RelayDesk {
    /// @notice `messageHash` is the messenger's; the message came from chain `source`; `relayer` called the desk.
    event Delivered(bytes32 indexed messageHash, uint256 indexed source, address indexed relayer);

    /// @notice Delivers a message as `L2ToL2CrossDomainMessenger.relayMessage` does, with all ether of this call, and
    ///         reverts as it does.
    function relay(Identifier calldata _id, bytes calldata _sentMessage)
        external
        payable
        returns (bytes memory returnData_)
    {
        // a target that calls back finds the messenger entered: no delivery, and so no event, lies within another
        returnData_ = L2ToL2CrossDomainMessenger(MESSENGER).relayMessage{ value: msg.value }(_id, _sentMessage);
        emit Delivered(_messageHash(_id.chainId, _sentMessage), _id.chainId, msg.sender);
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }

    /// @dev Reads the payload as the messenger does, which has accepted it: the destination is this chain.
    function _messageHash(uint256 _source, bytes calldata _payload) private view returns (bytes32) {
        (address target, uint256 nonce) = abi.decode(_payload[64:128], (address, uint256));
        (address sender, bytes memory message) = abi.decode(_payload[128:], (address, bytes));
        return keccak256(abi.encode(block.chainid, _source, nonce, sender, target, message));
    }
}
