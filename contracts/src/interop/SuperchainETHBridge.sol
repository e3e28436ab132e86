// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { ETHLiquidity } from "interop/ETHLiquidity.sol";
import { L2ToL2CrossDomainMessenger } from "interop/L2ToL2CrossDomainMessenger.sol";
import { ETH_LIQUIDITY, MESSENGER } from "interop/Predeploys.sol";
import { SafeSend } from "interop/SafeSend.sol";

/// @title SuperchainETHBridge: ether between rollups (predeploy 0x4200000000000000000000000000000000000024)
/// @notice Written by us to the published interface (OP Stack specs: SuperchainETHBridge).
contract SuperchainETHBridge {
    event SendETH(address indexed from, address indexed to, uint256 amount, uint256 destination);
    event RelayETH(address indexed from, address indexed to, uint256 amount, uint256 source);

    error Unauthorized();
    error InvalidCrossDomainSender();
    error ZeroAddress();

    /// @notice Sends the ether of this call to `_to` on another rollup.
    function sendETH(address _to, uint256 _chainId) external payable returns (bytes32 msgHash_) {
        if (_to == address(0)) revert ZeroAddress();
        ETHLiquidity(ETH_LIQUIDITY).burn{ value: msg.value }();
        msgHash_ = L2ToL2CrossDomainMessenger(MESSENGER).sendMessage(
            _chainId, address(this), abi.encodeCall(this.relayETH, (msg.sender, _to, msg.value))
        );
        emit SendETH(msg.sender, _to, msg.value, _chainId);
    }

    /// @notice Pays out what this contract took in on another rollup. Called by the messenger only.
    function relayETH(address _from, address _to, uint256 _amount) external {
        if (msg.sender != MESSENGER) revert Unauthorized();
        (address sender, uint256 source) = L2ToL2CrossDomainMessenger(MESSENGER).crossDomainMessageContext();
        if (sender != address(this)) revert InvalidCrossDomainSender();
        ETHLiquidity(ETH_LIQUIDITY).mint(_amount);
        new SafeSend{ value: _amount }(payable(_to));
        emit RelayETH(_from, _to, _amount, source);
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }
}
