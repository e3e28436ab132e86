// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Agent: a contract in the place of a user, for tests: it does what it is told, and receives ether as it is told
/// @notice Also the code that an account delegates to (EIP-7702), and the attacker that calls back when it is paid.
contract Agent {
    enum Manner {
        Accept,
        Refuse,
        BurnGas,
        CallBack
    }

    Manner public manner;
    address private target;
    bytes private call_;
    uint256 public callsBack;
    uint256 public callsBackDone;

    receive() external payable {
        if (manner == Manner.Refuse) revert("refused");
        if (manner == Manner.BurnGas) while (true) { }
        if (manner == Manner.CallBack) callBack();
    }

    function receiveBy(Manner manner_, address target_, bytes calldata data) external {
        (manner, target, call_) = (manner_, target_, data);
    }

    function act(address to, bytes calldata data) external payable returns (bytes memory result) {
        bool done;
        (done, result) = to.call{ value: msg.value }(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(result, 32), mload(result))
            }
        }
    }

    /// @notice Makes the prepared call, and counts whether it went through.
    function callBack() public {
        ++callsBack;
        (bool done,) = target.call(call_);
        if (done) ++callsBackDone;
    }
}
