// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { ETH_BRIDGE } from "interop/Predeploys.sol";
import { SafeSend } from "interop/SafeSend.sol";

/// @title ETHLiquidity: ether that is on another rollup just now (predeploy 0x4200000000000000000000000000000000000025)
/// @notice Written by us to the published interface (OP Stack specs: interop ETH bridging). Starts with 2**248 - 1 wei,
///         more than there is; the bridge puts in what leaves and takes out what arrives.
contract ETHLiquidity {
    event LiquidityBurned(address indexed caller, uint256 value);
    event LiquidityMinted(address indexed caller, uint256 value);

    error Unauthorized();

    /// @notice Takes ether that leaves this rollup.
    function burn() external payable {
        if (msg.sender != ETH_BRIDGE) revert Unauthorized();
        emit LiquidityBurned(msg.sender, msg.value);
    }

    /// @notice Gives the bridge ether that arrived.
    function mint(uint256 _amount) external {
        if (msg.sender != ETH_BRIDGE) revert Unauthorized();
        new SafeSend{ value: _amount }(payable(msg.sender));
        emit LiquidityMinted(msg.sender, _amount);
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }
}
