// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @dev Created with the balance to burn: destroys itself in the transaction that made it, and the ether with it (EIP-6780).
contract Burner {
    constructor() payable {
        selfdestruct(payable(address(this)));
    }
}

/// @title L2ToL1MessagePasser: withdrawals leave here (predeploy 0x4200000000000000000000000000000000000016)
/// @notice Written by us to the published interface (OP Stack specs: withdrawals). Slot 0 is `sentMessages`: L1 proves a
///         withdrawal against it, and from Isthmus on this contract's storage root is in the block header.
contract L2ToL1MessagePasser {
    mapping(bytes32 => bool) public sentMessages;
    uint240 internal msgNonce;

    uint16 public constant MESSAGE_VERSION = 1;
    uint256 internal constant RECEIVE_DEFAULT_GAS_LIMIT = 100_000;

    event MessagePassed(
        uint256 indexed nonce,
        address indexed sender,
        address indexed target,
        uint256 value,
        uint256 gasLimit,
        bytes data,
        bytes32 withdrawalHash
    );
    event WithdrawerBalanceBurnt(uint256 indexed amount);

    /// @notice Plain ether sent here is withdrawn to the sender's own address on L1.
    receive() external payable {
        initiateWithdrawal(msg.sender, RECEIVE_DEFAULT_GAS_LIMIT, "");
    }

    /// @notice Records a message to L1 with the ether sent along.
    function initiateWithdrawal(address _target, uint256 _gasLimit, bytes memory _data) public payable {
        uint256 nonce = messageNonce();
        bytes32 withdrawalHash = keccak256(abi.encode(nonce, msg.sender, _target, msg.value, _gasLimit, _data));
        sentMessages[withdrawalHash] = true;
        emit MessagePassed(nonce, msg.sender, _target, msg.value, _gasLimit, _data, withdrawalHash);
        unchecked {
            ++msgNonce;
        }
    }

    /// @notice Next nonce, with the message version in its upper two bytes.
    function messageNonce() public view returns (uint256) {
        return (uint256(MESSAGE_VERSION) << 240) | uint256(msgNonce);
    }

    /// @notice Removes the withdrawn ether from this rollup; it lives on L1 now.
    function burn() external {
        uint256 balance = address(this).balance;
        new Burner{ value: balance }();
        emit WithdrawerBalanceBurnt(balance);
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }
}
