// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title SafeSend: gives its ether to the recipient without calling it
/// @dev A recipient's code cannot refuse, use up gas or call back: the contract destroys itself in the transaction that
///      made it, which still moves the balance (EIP-6780).
contract SafeSend {
    constructor(address payable _recipient) payable {
        selfdestruct(_recipient);
    }
}
