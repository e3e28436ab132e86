// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { TimelockController } from "@openzeppelin/contracts/governance/TimelockController.sol";

/// @title Timelock: the only owner that Plait's L1 contracts know
/// @notice Whatever an owner may do is announced here first and done no earlier than the delay later, for everybody to see.
///         Proposers announce and may take back; once the delay is over anybody carries it out. There is no administrator:
///         roles and the delay change by announcements of the timelock to itself, and the delay never falls below the floor.
contract Timelock is TimelockController {
    uint256 public constant DELAY_MIN = 1 days;

    error DelayBelowFloor(uint256 given, uint256 least);

    constructor(uint256 delay, address[] memory proposers)
        TimelockController(delay, proposers, _anybody(), address(0))
    {
        if (delay < DELAY_MIN) revert DelayBelowFloor(delay, DELAY_MIN);
    }

    /// @notice As TimelockController's, with the floor.
    function updateDelay(uint256 delay) public override {
        if (delay < DELAY_MIN) revert DelayBelowFloor(delay, DELAY_MIN);
        super.updateDelay(delay);
    }

    /// @dev The zero address as executor stands for everybody.
    function _anybody() private pure returns (address[] memory executors) {
        executors = new address[](1);
    }
}
