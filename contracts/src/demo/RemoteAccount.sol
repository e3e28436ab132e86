// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { L2ToL2CrossDomainMessenger } from "interop/L2ToL2CrossDomainMessenger.sol";
import { MESSENGER } from "interop/Predeploys.sol";

/// @title RemoteAccount: an account on this rollup that obeys one account of another rollup, for demonstrations and tests
/// @notice Its owner needs no ether here and signs nothing here: it sends a token to this address, then a message that
///         says what to do with it. Messages arrive in the order in which they were sent when they are relayed so; a call
///         that reverts reverts the delivery.
/// @dev Tokens sent here are safe in between: nobody but the owner can move them, whatever is relayed when and by whom.
contract RemoteAccount {
    struct Call {
        address target;
        uint256 value;
        bytes data;
    }

    address public immutable owner;
    uint256 public immutable ownerChainId;

    error NotFromMessenger(address caller);
    error NotFromOwner(address sender, uint256 chainId);

    constructor(address _owner, uint256 _ownerChainId) {
        (owner, ownerChainId) = (_owner, _ownerChainId);
    }

    receive() external payable { }

    /// @notice Makes these calls in their order, all or none. Called by the messenger, for the owner only.
    /// @return results what each call returned
    function execute(Call[] calldata calls) external returns (bytes[] memory results) {
        if (msg.sender != MESSENGER) revert NotFromMessenger(msg.sender);
        (address sender, uint256 source) = L2ToL2CrossDomainMessenger(MESSENGER).crossDomainMessageContext();
        if (sender != owner || source != ownerChainId) revert NotFromOwner(sender, source);
        results = new bytes[](calls.length);
        for (uint256 index = 0; index < calls.length; index++) {
            (bool success, bytes memory returned) = calls[index].target.call{ value: calls[index].value }(calls[index].data);
            if (!success) {
                assembly {
                    revert(add(returned, 32), mload(returned))
                }
            }
            results[index] = returned;
        }
    }
}
