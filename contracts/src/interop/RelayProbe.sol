// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title RelayProbe: a contract in the place of a user, for tests of RelayDesk and RelayFees
/// @notice Calls what it is told to, and can be set to call back, or to refuse, whenever it is paid.
contract RelayProbe {
    address internal target;
    bytes internal data;
    bool public refusing;
    uint256 public payments;
    uint256 public callbacks;
    uint256 public successes;

    error Refused();

    receive() external payable {
        if (refusing) revert Refused();
        payments += 1;
        if (target == address(0)) return;
        callbacks += 1;
        (bool success,) = target.call(data);
        if (success) successes += 1;
    }

    function run(address _target, bytes calldata _data) external payable returns (bytes memory returned_) {
        bool success;
        (success, returned_) = _target.call{ value: msg.value }(_data);
        if (!success) {
            assembly {
                revert(add(returned_, 32), mload(returned_))
            }
        }
    }

    /// @notice From now on every payment makes this call; none for the zero address.
    function callBack(address _target, bytes calldata _data) external {
        (target, data) = (_target, _data);
    }

    function refuse(bool _refusing) external {
        refusing = _refusing;
    }
}
