// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title WrappedEther: ether as an ERC-20 token (predeploy 0x4200000000000000000000000000000000000006)
/// @notice Written by us; interface, events and behaviour are those of WETH9 that every exchange expects.
contract WrappedEther {
    string public constant name = "Wrapped Ether";
    string public constant symbol = "WETH";
    uint8 public constant decimals = 18;

    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    event Approval(address indexed src, address indexed guy, uint256 wad);
    event Transfer(address indexed src, address indexed dst, uint256 wad);
    event Deposit(address indexed dst, uint256 wad);
    event Withdrawal(address indexed src, uint256 wad);

    error BalanceTooLow(address account, uint256 balance, uint256 needed);
    error AllowanceTooLow(address owner, address spender, uint256 allowed, uint256 needed);
    error TransferFailed();

    receive() external payable {
        deposit();
    }

    fallback() external payable {
        deposit();
    }

    function deposit() public payable {
        balanceOf[msg.sender] += msg.value;
        emit Deposit(msg.sender, msg.value);
    }

    function withdraw(uint256 wad) external {
        _debit(msg.sender, wad);
        emit Withdrawal(msg.sender, wad);
        (bool sent,) = msg.sender.call{ value: wad }("");
        if (!sent) revert TransferFailed();
    }

    function totalSupply() external view returns (uint256) {
        return address(this).balance;
    }

    function approve(address guy, uint256 wad) external returns (bool) {
        allowance[msg.sender][guy] = wad;
        emit Approval(msg.sender, guy, wad);
        return true;
    }

    function transfer(address dst, uint256 wad) external returns (bool) {
        return transferFrom(msg.sender, dst, wad);
    }

    function transferFrom(address src, address dst, uint256 wad) public returns (bool) {
        uint256 allowed = allowance[src][msg.sender];
        if (src != msg.sender && allowed != type(uint256).max) {
            if (allowed < wad) revert AllowanceTooLow(src, msg.sender, allowed, wad);
            allowance[src][msg.sender] = allowed - wad;
        }
        _debit(src, wad);
        balanceOf[dst] += wad;
        emit Transfer(src, dst, wad);
        return true;
    }

    function _debit(address account, uint256 wad) private {
        uint256 balance = balanceOf[account];
        if (balance < wad) revert BalanceTooLow(account, balance, wad);
        balanceOf[account] = balance - wad;
    }
}
