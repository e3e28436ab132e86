// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { CrossL2Inbox } from "interop/CrossL2Inbox.sol";
import { Identifier } from "interop/Identifier.sol";
import { L2ToL2CrossDomainMessenger } from "interop/L2ToL2CrossDomainMessenger.sol";
import { CROSS_L2_INBOX, MESSENGER, RELAY_DESK } from "interop/Predeploys.sol";

/// @title RelayFees: pays for delivering a message that was sent from this chain
///        (predeploy 0x504c414954000000000000000000000000000002)
/// @notice A fee is attached to a message by anyone, or promised to a sender by a sponsor. Whoever delivers the message
///         through the RelayDesk of its destination claims both here, once per message: what is attached, and what a
///         sponsor adds when that is less than promised.
///
///         A claim proves a Delivered log. The message's hash is made from this chain as source, the chain of that log
///         as destination, and the sender, and the messenger must have sent it: no chain can claim for messages to
///         another one or for none at all, and nobody spends what a sponsor promised to another sender.
///
///         An attached fee is offered for seven days, can be claimed for an hour longer, and goes back after that:
///         claim and refund are never possible at the same time.
///
///         The contract owes its whole balance, to payers and sponsors. Ether forced into it without a call is lost.
contract RelayFees {
    /// @notice How long an attached fee is offered; the longest that the log of a delivery can be proved, too.
    uint64 public constant OFFER_SECONDS = 7 days;
    /// @notice How long after that it can still be claimed: who saw the offer in its last second can deliver and claim.
    uint64 public constant CLAIM_MARGIN_SECONDS = 1 hours;

    /// @dev keccak256("Delivered(bytes32,uint256,address)")
    bytes32 internal constant DELIVERED = 0xe8af11db00d09fffb651d21361f285e2bc2d2658a6fb95006b86bb659dd70769;

    /// @dev What is attached to a message until `until`, over all payers. `claimed` says that the message was paid for;
    ///      its `until` then names the attached fees that went there, zero when a sponsor paid everything.
    struct Offer {
        uint120 amount;
        uint64 until;
        uint64 gasLimit;
        bool claimed;
    }

    /// @dev One payer's part. It belongs to the offer of the same `until`, or to an earlier one that nobody claimed.
    struct Contribution {
        uint128 amount;
        uint64 until;
    }

    /// @dev What a sponsor promises to one sender.
    struct Allowance {
        uint128 amountPerMessage;
        uint64 gasLimit;
        uint64 messages;
    }

    mapping(bytes32 messageHash => Offer) public offers;
    mapping(bytes32 messageHash => mapping(address payer => Contribution)) public contributions;
    mapping(address sponsor => uint256) public deposits;
    mapping(address sponsor => mapping(address sender => Allowance)) public allowances;
    mapping(address sender => address sponsor) public sponsorOf;

    event FeeAttached(bytes32 indexed messageHash, address indexed payer, uint256 amount, uint64 gasLimit);
    event FeeRefunded(bytes32 indexed messageHash, address indexed payer, uint256 amount);
    event FeeClaimed(bytes32 indexed messageHash, address indexed relayer, uint256 attached, uint256 sponsored, address sponsor);
    event SponsorDeposited(address indexed sponsor, address indexed payer, uint256 amount);
    event SponsorWithdrew(address indexed sponsor, uint256 amount);
    event SenderAllowed(
        address indexed sponsor,
        address indexed sender,
        uint256 amountPerMessage,
        uint64 gasLimit,
        uint64 messages
    );
    event SponsorChosen(address indexed sender, address indexed sponsor);
    event DeliveryRequired(bytes32 indexed messageHash);

    error AlreadyClaimed();
    error AmountTooHigh();
    error DepositTooLow();
    error IdOriginNotRelayDesk();
    error MessageNotSent();
    error NothingAttached();
    error NothingOffered();
    error OfferClosing(uint256 until);
    error PaymentRefused();
    error RefundTooEarly(uint256 from);

    /// @notice Attaches the ether of this call to a message, sent already or not; fees of several calls and payers add up.
    ///         `_gasLimit` says how much gas the delivery needs; the highest counts.
    /// @dev What the caller attached to an earlier, expired offer of this message is offered again with it.
    function attach(bytes32 _messageHash, uint64 _gasLimit) external payable {
        Offer memory current = offers[_messageHash];
        if (current.claimed) revert AlreadyClaimed();
        if (block.timestamp >= current.until) {
            uint256 closed = uint256(current.until) + CLAIM_MARGIN_SECONDS;
            if (block.timestamp < closed) revert OfferClosing(closed);
            current = Offer({ amount: 0, until: uint64(block.timestamp) + OFFER_SECONDS, gasLimit: 0, claimed: false });
        }
        Contribution memory part = contributions[_messageHash][msg.sender];
        uint256 added = part.until == current.until ? msg.value : msg.value + part.amount;
        if (added == 0) revert NothingAttached();
        uint256 total = current.amount + added;
        if (total > type(uint120).max) revert AmountTooHigh();
        current.amount = uint120(total);
        if (_gasLimit > current.gasLimit) current.gasLimit = _gasLimit;
        offers[_messageHash] = current;
        // the part is at most the total, which fits
        contributions[_messageHash][msg.sender] =
            Contribution({ amount: uint128(part.amount + msg.value), until: current.until });
        emit FeeAttached(_messageHash, msg.sender, msg.value, _gasLimit);
    }

    /// @notice Gives the caller back what it attached, an hour after the offer ended without a claim.
    function refund(bytes32 _messageHash) external {
        Contribution memory part = contributions[_messageHash][msg.sender];
        if (part.amount == 0) revert NothingAttached();
        Offer storage current = offers[_messageHash];
        if (part.until == current.until) {
            if (current.claimed) revert AlreadyClaimed();
            uint256 from = uint256(part.until) + CLAIM_MARGIN_SECONDS;
            if (block.timestamp < from) revert RefundTooEarly(from);
            current.amount -= uint120(part.amount);
        }
        // otherwise the part is of an earlier offer: one that expired, or no later one and no claim could have followed
        delete contributions[_messageHash][msg.sender];
        emit FeeRefunded(_messageHash, msg.sender, part.amount);
        _pay(msg.sender, part.amount);
    }

    /// @notice Adds the ether of this call to a sponsor's deposit.
    function depositFor(address _sponsor) external payable {
        deposits[_sponsor] += msg.value;
        emit SponsorDeposited(_sponsor, msg.sender, msg.value);
    }

    /// @notice Takes ether out of the caller's deposit.
    function withdraw(uint256 _amount) external {
        uint256 deposit = deposits[msg.sender];
        if (_amount > deposit) revert DepositTooLow();
        deposits[msg.sender] = deposit - _amount;
        emit SponsorWithdrew(msg.sender, _amount);
        _pay(msg.sender, _amount);
    }

    /// @notice Promises up to `_amountPerMessage` for each of the next `_messages` messages of `_sender` that are paid for,
    ///         if it chooses the caller as its sponsor. Replaces what was promised to it before.
    function allow(address _sender, uint256 _amountPerMessage, uint64 _gasLimit, uint64 _messages) external {
        if (_amountPerMessage > type(uint128).max) revert AmountTooHigh();
        allowances[msg.sender][_sender] = Allowance(uint128(_amountPerMessage), _gasLimit, _messages);
        emit SenderAllowed(msg.sender, _sender, _amountPerMessage, _gasLimit, _messages);
    }

    /// @notice Chooses who pays for the caller's messages; the zero address for nobody.
    function useSponsor(address _sponsor) external {
        sponsorOf[msg.sender] = _sponsor;
        emit SponsorChosen(msg.sender, _sponsor);
    }

    /// @notice What delivering a message of `_sender` earns now, and the gas that its payers think it needs.
    /// @dev A claim pays at least this until something is withdrawn, claimed or allowed anew.
    function offer(bytes32 _messageHash, address _sender) external view returns (uint256 amount_, uint64 gasLimit_) {
        Offer memory current = offers[_messageHash];
        if (current.claimed) return (0, 0);
        if (block.timestamp < current.until) (amount_, gasLimit_) = (current.amount, current.gasLimit);
        address sponsor = sponsorOf[_sender];
        uint256 sponsored = _sponsored(sponsor, _sender, amount_);
        if (sponsored > 0) {
            amount_ += sponsored;
            uint64 gasLimit = allowances[sponsor][_sender].gasLimit;
            if (gasLimit > gasLimit_) gasLimit_ = gasLimit;
        }
    }

    /// @notice Pays whoever delivered a message from this chain; anyone may call.
    /// @param _id Where the Delivered log is, on the message's destination.
    /// @param _relayer The relayer that this log names; receives the payment.
    /// @param _nonce, _sender, _target, _message What the messenger sent.
    function claim(
        Identifier calldata _id,
        address _relayer,
        uint256 _nonce,
        address _sender,
        address _target,
        bytes calldata _message
    ) external returns (uint256 amount_) {
        if (_id.origin != RELAY_DESK) revert IdOriginNotRelayDesk();
        bytes32 messageHash = keccak256(abi.encode(_id.chainId, block.chainid, _nonce, _sender, _target, _message));
        if (L2ToL2CrossDomainMessenger(MESSENGER).sentMessages(_nonce) != messageHash) revert MessageNotSent();
        CrossL2Inbox(CROSS_L2_INBOX).validateMessage(
            _id, keccak256(abi.encode(DELIVERED, messageHash, block.chainid, _relayer))
        );
        amount_ = _settle(messageHash, _sender, _relayer);
        _pay(_relayer, amount_);
    }

    /// @notice Says that the transaction is void unless the message is delivered with it, in the same bundle. Whoever orders
    ///         transactions holds them to it; the contract keeps nothing.
    function requireDelivery(bytes32 _messageHash) external {
        emit DeliveryRequired(_messageHash);
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }

    /// @dev Marks the message as paid for and takes the payment from what is owed to payers and sponsor.
    function _settle(bytes32 _messageHash, address _sender, address _relayer) private returns (uint256 amount_) {
        Offer memory current = offers[_messageHash];
        if (current.claimed) revert AlreadyClaimed();
        bool open = block.timestamp < uint256(current.until) + CLAIM_MARGIN_SECONDS;
        uint256 attached = open ? current.amount : 0;
        address sponsor = sponsorOf[_sender];
        uint256 sponsored = _sponsored(sponsor, _sender, attached);
        amount_ = attached + sponsored;
        if (amount_ == 0) revert NothingOffered();
        // without an attached fee no payer's part is spent: parts of expired offers stay refundable
        offers[_messageHash] =
            Offer({ amount: 0, until: attached > 0 ? current.until : 0, gasLimit: 0, claimed: true });
        if (sponsored > 0) {
            deposits[sponsor] -= sponsored;
            allowances[sponsor][_sender].messages -= 1;
        } else {
            sponsor = address(0);
        }
        emit FeeClaimed(_messageHash, _relayer, attached, sponsored, sponsor);
    }

    /// @dev What the sponsor adds to an attached fee: the rest of its promise, all of it or nothing.
    function _sponsored(address _sponsor, address _sender, uint256 _attached) private view returns (uint256) {
        Allowance memory allowed = allowances[_sponsor][_sender];
        if (allowed.messages == 0 || allowed.amountPerMessage <= _attached) return 0;
        uint256 rest = allowed.amountPerMessage - _attached;
        return rest <= deposits[_sponsor] ? rest : 0;
    }

    /// @dev Last in its function: whoever is called finds the payment booked already. What it returns is not read.
    function _pay(address _to, uint256 _amount) private {
        bool success;
        assembly {
            success := call(gas(), _to, _amount, 0, 0, 0, 0)
        }
        if (!success) revert PaymentRefused();
    }
}
