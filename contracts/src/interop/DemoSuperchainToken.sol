// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { SuperchainERC20 } from "interop/SuperchainERC20.sol";

/// @title DemoSuperchainToken: a token of one supply over all rollups that anyone may mint, for demonstrations and tests
contract DemoSuperchainToken is SuperchainERC20 {
    string public constant name = "Demo Superchain Token";
    string public constant symbol = "DST";
    uint8 public constant decimals = 18;

    function mint(address _to, uint256 _value) external {
        _mint(_to, _value);
    }
}
