// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { IERC7802 } from "interop/IERC7802.sol";
import { L2ToL2CrossDomainMessenger } from "interop/L2ToL2CrossDomainMessenger.sol";
import { MESSENGER } from "interop/Predeploys.sol";

/// @title SuperchainTokenBridge: tokens between rollups (predeploy 0x4200000000000000000000000000000000000028)
/// @notice Written by us to the published interface (OP Stack specs: token bridging). Burns here, mints there.
contract SuperchainTokenBridge {
    event SendERC20(
        address indexed token,
        address indexed from,
        address indexed to,
        uint256 amount,
        uint256 destination
    );
    event RelayERC20(
        address indexed token,
        address indexed from,
        address indexed to,
        uint256 amount,
        uint256 source
    );

    error Unauthorized();
    error InvalidCrossDomainSender();
    error InvalidERC7802();
    error ZeroAddress();

    /// @notice Sends tokens of the caller to `_to` on another rollup, where the token has the same address.
    function sendERC20(address _token, address _to, uint256 _amount, uint256 _chainId)
        external
        returns (bytes32 msgHash_)
    {
        if (_to == address(0)) revert ZeroAddress();
        if (!_isERC7802(_token)) revert InvalidERC7802();
        IERC7802(_token).crosschainBurn(msg.sender, _amount);
        msgHash_ = L2ToL2CrossDomainMessenger(MESSENGER).sendMessage(
            _chainId, address(this), abi.encodeCall(this.relayERC20, (_token, msg.sender, _to, _amount))
        );
        emit SendERC20(_token, msg.sender, _to, _amount, _chainId);
    }

    /// @notice Mints what this contract burnt on another rollup. Called by the messenger only.
    function relayERC20(address _token, address _from, address _to, uint256 _amount) external {
        if (msg.sender != MESSENGER) revert Unauthorized();
        (address sender, uint256 source) = L2ToL2CrossDomainMessenger(MESSENGER).crossDomainMessageContext();
        if (sender != address(this)) revert InvalidCrossDomainSender();
        IERC7802(_token).crosschainMint(_to, _amount);
        emit RelayERC20(_token, _from, _to, _amount, source);
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }

    /// @dev ERC-165 asks for less than 30,000 gas; whatever is not a clear yes is a no.
    function _isERC7802(address _token) private view returns (bool) {
        (bool success, bytes memory answer) = _token.staticcall{ gas: 30_000 }(
            abi.encodeWithSignature("supportsInterface(bytes4)", type(IERC7802).interfaceId)
        );
        return success && answer.length >= 32 && abi.decode(answer, (uint256)) == 1;
    }
}
