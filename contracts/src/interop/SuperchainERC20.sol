// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { IERC165, IERC7802 } from "interop/IERC7802.sol";
import { TOKEN_BRIDGE } from "interop/Predeploys.sol";

/// @notice ERC-20.
interface IERC20 {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    function totalSupply() external view returns (uint256);
    function balanceOf(address _account) external view returns (uint256);
    function allowance(address _owner, address _spender) external view returns (uint256);
    function transfer(address _to, uint256 _value) external returns (bool);
    function approve(address _spender, uint256 _value) external returns (bool);
    function transferFrom(address _from, address _to, uint256 _value) external returns (bool);
}

/// @title SuperchainERC20: an ERC-20 token with one supply over all rollups
/// @notice Written by us to the published interface (OP Stack specs: token bridging). The token must have the same
///         address on every rollup, which deployment through CREATE2 gives it: the bridge minted there what it burnt here.
abstract contract SuperchainERC20 is IERC20, IERC7802 {
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    error Unauthorized();
    error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
    error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);

    modifier onlyTokenBridge() {
        if (msg.sender != TOKEN_BRIDGE) revert Unauthorized();
        _;
    }

    function crosschainMint(address _to, uint256 _amount) external onlyTokenBridge {
        _mint(_to, _amount);
        emit CrosschainMint(_to, _amount, msg.sender);
    }

    function crosschainBurn(address _from, uint256 _amount) external onlyTokenBridge {
        _burn(_from, _amount);
        emit CrosschainBurn(_from, _amount, msg.sender);
    }

    function supportsInterface(bytes4 _interfaceId) external pure returns (bool) {
        return _interfaceId == type(IERC7802).interfaceId || _interfaceId == type(IERC20).interfaceId
            || _interfaceId == type(IERC165).interfaceId;
    }

    function transfer(address _to, uint256 _value) external returns (bool) {
        _move(msg.sender, _to, _value);
        return true;
    }

    function approve(address _spender, uint256 _value) external returns (bool) {
        allowance[msg.sender][_spender] = _value;
        emit Approval(msg.sender, _spender, _value);
        return true;
    }

    function transferFrom(address _from, address _to, uint256 _value) external returns (bool) {
        uint256 allowed = allowance[_from][msg.sender];
        if (allowed != type(uint256).max) {
            if (allowed < _value) revert ERC20InsufficientAllowance(msg.sender, allowed, _value);
            allowance[_from][msg.sender] = allowed - _value;
        }
        _move(_from, _to, _value);
        return true;
    }

    function _mint(address _to, uint256 _value) internal {
        totalSupply += _value;
        unchecked {
            balanceOf[_to] += _value; // no balance exceeds the supply
        }
        emit Transfer(address(0), _to, _value);
    }

    function _burn(address _from, uint256 _value) internal {
        _take(_from, _value);
        unchecked {
            totalSupply -= _value; // the balance was part of it
        }
        emit Transfer(_from, address(0), _value);
    }

    function _move(address _from, address _to, uint256 _value) private {
        _take(_from, _value);
        unchecked {
            balanceOf[_to] += _value; // what was taken is part of the supply
        }
        emit Transfer(_from, _to, _value);
    }

    function _take(address _from, uint256 _value) private {
        uint256 balance = balanceOf[_from];
        if (balance < _value) revert ERC20InsufficientBalance(_from, balance, _value);
        unchecked {
            balanceOf[_from] = balance - _value;
        }
    }
}
