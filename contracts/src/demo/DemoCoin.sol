// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { SuperchainERC20 } from "interop/SuperchainERC20.sol";

/// @title DemoCoin: a named token of one supply over all rollups that anyone may mint, for demonstrations and tests
/// @notice The same name and symbol through the same CREATE2 deployer give the same address on every rollup.
contract DemoCoin is SuperchainERC20 {
    string public name;
    string public symbol;
    uint8 public constant decimals = 18;

    constructor(string memory _name, string memory _symbol) {
        name = _name;
        symbol = _symbol;
    }

    function mint(address to, uint256 value) external {
        _mint(to, value);
    }
}
