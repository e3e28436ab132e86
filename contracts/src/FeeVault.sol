// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { L2ToL1MessagePasser } from "L2ToL1MessagePasser.sol";

/// @title FeeVault: where one kind of fee is collected
/// @notice Written by us to the published interface; one code for the four predeploys 0x42..11 (sequencer), 0x42..19 (base
///         fee), 0x42..1A (L1 data fee), 0x42..1B (operator fee). Genesis sets recipient, minimum and network in storage.
contract FeeVault {
    uint256 public totalProcessed;
    address public recipient;
    /// @notice 0: to L1 through the message passer; 1: on this rollup.
    uint8 public withdrawalNetwork;
    uint256 public minWithdrawalAmount;

    event Withdrawal(uint256 value, address to, address from, uint8 withdrawalNetwork);

    error BelowMinimum(uint256 balance, uint256 minimum);
    error TransferFailed();

    receive() external payable { }

    /// @notice Sends the whole balance to the recipient. Anyone may call it.
    function withdraw() external returns (uint256 value) {
        value = address(this).balance;
        if (value < minWithdrawalAmount) revert BelowMinimum(value, minWithdrawalAmount);
        totalProcessed += value;
        emit Withdrawal(value, recipient, msg.sender, withdrawalNetwork);
        if (withdrawalNetwork == 1) {
            (bool sent,) = recipient.call{ value: value }("");
            if (!sent) revert TransferFailed();
        } else {
            L2ToL1MessagePasser(payable(0x4200000000000000000000000000000000000016)).initiateWithdrawal{ value: value }(
                recipient, 400_000, ""
            );
        }
    }

    function RECIPIENT() external view returns (address) {
        return recipient;
    }

    function MIN_WITHDRAWAL_AMOUNT() external view returns (uint256) {
        return minWithdrawalAmount;
    }

    function WITHDRAWAL_NETWORK() external view returns (uint8) {
        return withdrawalNetwork;
    }

    /// @notice Name that the sequencer's vault has carried since its first version.
    function l1FeeWallet() external view returns (address) {
        return recipient;
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }
}
