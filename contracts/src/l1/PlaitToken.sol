// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import { ERC20Burnable } from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";

/// @title PlaitToken: PLAIT on L1, for development chains
/// @notice A fixed supply that goes to one account; anybody may burn what they hold. No owner, no mint, no pause.
contract PlaitToken is ERC20, ERC20Burnable {
    constructor(address holder, uint256 supply) ERC20("Plait", "PLAIT") {
        _mint(holder, supply);
    }
}
