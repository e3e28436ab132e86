// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import { Agent } from "test/Agent.sol";

/// @title HookToken: a hostile token, for tests: it lets an agent act in the middle of every transfer, or keeps a fee
contract HookToken is ERC20 {
    Agent public hook;
    uint256 public fee;

    constructor(address holder, uint256 supply) ERC20("Hook", "HOOK") {
        _mint(holder, supply);
    }

    function setHook(Agent hook_, uint256 fee_) external {
        (hook, fee) = (hook_, fee_);
    }

    function burn(uint256 amount) external {
        _burn(msg.sender, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (address(hook) != address(0)) hook.callBack();
        super._update(from, to, value);
        if (fee > 0 && to != address(0)) super._update(to, address(this), fee);
    }
}
