// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { CrossL2Inbox } from "interop/CrossL2Inbox.sol";
import { Identifier } from "interop/Identifier.sol";
import { CROSS_L2_INBOX, MESSENGER } from "interop/Predeploys.sol";

/// @title L2ToL2CrossDomainMessenger: calls from a contract of one rollup to a contract of another
///        (predeploy 0x4200000000000000000000000000000000000023)
/// @notice Written by us to the published interface, version 1.3.1 (OP Stack specs: interop predeploys). A message is bound to its
///         destination, delivered at most once, and the called contract can ask who sent it from where.
contract L2ToL2CrossDomainMessenger {
    uint16 public constant messageVersion = 0;

    /// @dev keccak256("SentMessage(uint256,address,uint256,address,bytes)")
    bytes32 internal constant SENT_MESSAGE = 0x382409ac69001e11931a28435afef442cbfd20d9891907e8fa373ba7d351f320;

    /// @notice By message hash: delivered here, so never again.
    mapping(bytes32 => bool) public successfulMessages;
    uint240 internal msgNonce;
    /// @notice By versioned nonce: the hash of the message that was sent from here.
    mapping(uint256 => bytes32) public sentMessages;

    // Who is calling through, for the time of one delivery. Ends with the transaction at the latest (EIP-1153).
    bool transient entered;
    address transient currentSender;
    uint256 transient currentSource;

    event SentMessage(
        uint256 indexed destination,
        address indexed target,
        uint256 indexed messageNonce,
        address sender,
        bytes message
    );
    event RelayedMessage(
        uint256 indexed source,
        uint256 indexed messageNonce,
        bytes32 indexed messageHash,
        bytes32 returnDataHash
    );

    error NotEntered();
    error ReentrantCall();
    error IdOriginNotL2ToL2CrossDomainMessenger();
    error EventPayloadNotSentMessage();
    error MessageDestinationSameChain();
    error MessageDestinationNotRelayChain();
    error MessageTargetL2ToL2CrossDomainMessenger();
    error MessageAlreadyRelayed();
    error InvalidMessage();

    modifier onlyEntered() {
        if (!entered) revert NotEntered();
        _;
    }

    /// @notice Sends `_message` as calldata to `_target` on another rollup. Carries no ether; see SuperchainETHBridge.
    function sendMessage(uint256 _destination, address _target, bytes calldata _message)
        external
        returns (bytes32 messageHash_)
    {
        if (_destination == block.chainid) revert MessageDestinationSameChain();
        if (_target == MESSENGER) revert MessageTargetL2ToL2CrossDomainMessenger();
        uint256 nonce = messageNonce();
        messageHash_ = _hash(_destination, block.chainid, nonce, msg.sender, _target, _message);
        sentMessages[nonce] = messageHash_;
        msgNonce += 1;
        emit SentMessage(_destination, _target, nonce, msg.sender, _message);
    }

    /// @notice Emits the log of a message again, so that it can be relayed after the first log has expired. Anyone may.
    function resendMessage(
        uint256 _destination,
        uint256 _nonce,
        address _sender,
        address _target,
        bytes calldata _message
    ) external returns (bytes32 messageHash_) {
        messageHash_ = _hash(_destination, block.chainid, _nonce, _sender, _target, _message);
        if (sentMessages[_nonce] != messageHash_) revert InvalidMessage();
        emit SentMessage(_destination, _target, _nonce, _sender, _message);
    }

    /// @notice Delivers a message: `_id` is where its SentMessage log is, `_sentMessage` that log's topics and data.
    /// @dev Ether sent along goes to the target. A target that reverts reverts the delivery, which can be tried again.
    function relayMessage(Identifier calldata _id, bytes calldata _sentMessage)
        external
        payable
        returns (bytes memory returnData_)
    {
        if (entered) revert ReentrantCall();
        entered = true;
        if (_id.origin != MESSENGER) revert IdOriginNotL2ToL2CrossDomainMessenger();
        CrossL2Inbox(CROSS_L2_INBOX).validateMessage(_id, keccak256(_sentMessage));

        (address target, uint256 nonce, address sender, bytes memory message) = _decode(_sentMessage);
        bytes32 messageHash = _hash(block.chainid, _id.chainId, nonce, sender, target, message);
        if (successfulMessages[messageHash]) revert MessageAlreadyRelayed();
        successfulMessages[messageHash] = true;
        (currentSender, currentSource) = (sender, _id.chainId);

        bool success;
        (success, returnData_) = target.call{ value: msg.value }(message);
        if (!success) {
            assembly {
                revert(add(returnData_, 32), mload(returnData_))
            }
        }
        emit RelayedMessage(_id.chainId, nonce, messageHash, keccak256(returnData_));
        (currentSender, currentSource) = (address(0), 0);
        entered = false;
    }

    /// @notice Next nonce, with the message version in its upper two bytes.
    function messageNonce() public view returns (uint256) {
        return (uint256(messageVersion) << 240) | uint256(msgNonce);
    }

    function crossDomainMessageSender() external view onlyEntered returns (address sender_) {
        return currentSender;
    }

    function crossDomainMessageSource() external view onlyEntered returns (uint256 source_) {
        return currentSource;
    }

    function crossDomainMessageContext() external view onlyEntered returns (address sender_, uint256 source_) {
        return (currentSender, currentSource);
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }

    /// @dev Topics are the event, destination, target and nonce; sender and message are its data.
    function _decode(bytes calldata _payload)
        private
        view
        returns (address target_, uint256 nonce_, address sender_, bytes memory message_)
    {
        if (bytes32(_payload[:32]) != SENT_MESSAGE) revert EventPayloadNotSentMessage();
        uint256 destination;
        (destination, target_, nonce_) = abi.decode(_payload[32:128], (uint256, address, uint256));
        if (destination != block.chainid) revert MessageDestinationNotRelayChain();
        (sender_, message_) = abi.decode(_payload[128:], (address, bytes));
    }

    function _hash(
        uint256 _destination,
        uint256 _source,
        uint256 _nonce,
        address _sender,
        address _target,
        bytes memory _message
    ) private pure returns (bytes32) {
        return keccak256(abi.encode(_destination, _source, _nonce, _sender, _target, _message));
    }
}
