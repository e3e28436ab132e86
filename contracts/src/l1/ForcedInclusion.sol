// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { Clones } from "@openzeppelin/contracts/proxy/Clones.sol";
import { BlockHeader } from "@openzeppelin/contracts/utils/BlockHeader.sol";
import { Blockhash } from "@openzeppelin/contracts/utils/Blockhash.sol";
import { Memory } from "@openzeppelin/contracts/utils/Memory.sol";
import { RLP } from "@openzeppelin/contracts/utils/RLP.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { TrieProof } from "@openzeppelin/contracts/utils/cryptography/TrieProof.sol";
import { CheckpointProofs } from "l1/CheckpointProofs.sol";
import { PlaitRegistry } from "l1/PlaitRegistry.sol";

interface IPortal {
    function depositTransaction(address to, uint256 value, uint64 gasLimit, bool isCreation, bytes calldata data) external payable;
}

/// @title ForcedSender: one user's hand at the portals (a clone per user, deployed by ForcedInclusion)
/// @notice On every rollup the user acts as the alias of this contract's address. Nobody else does: what a failed call leaves
///         there is only the user's.
contract ForcedSender {
    address private immutable desk = msg.sender;

    error NotDesk();

    function deposit(IPortal portal, address to, uint256 value, uint64 gasLimit, bool isCreation, bytes calldata data)
        external
        payable
    {
        if (msg.sender != desk) revert NotDesk();
        portal.depositTransaction{ value: msg.value }(to, value, gasLimit, isCreation, data);
    }
}

/// @title ForcedInclusion: deposits with a deadline, and what follows when the network misses it
/// @notice A request goes through the rollup's own portal at once, so derivation includes it whatever the network does. What
///         is recorded here is when the network itself had to have it in a sealed block:
///
///             Open -- prove --> Included                   anybody, with a sealed block of a committed checkpoint
///             Open -- claim, after the deadline --> Claimed            the requester, with a bond
///             Claimed -- prove, in the challenge time --> Included     the bond goes to who proved it
///             Claimed -- settle, after that --> Overdue                the bond goes back; counted for the rollup
///
///         L1 cannot see that something is absent; so a claim stands unless somebody shows the opposite. In time means that
///         the validators' agreed time of the sub-block that sealed the block is not after the deadline. Nobody is trusted and
///         nobody has a key: the contract has no owner, and money leaves it by `withdraw` only.
/// @dev A deposit's source hash names the L1 block and log, so an inclusion serves one request and a request of an L1 block
///      that was reorganised away cannot be mistaken for this one. The block's hash must be fetched while the EVM has it
///      (8191 blocks with EIP-2935, else 256): `claim` does that, or anybody before it by `anchor`.
contract ForcedInclusion is ReentrancyGuardTransient {
    using BlockHeader for Memory.Slice[];
    using RLP for Memory.Slice;

    enum State {
        None,
        Open,
        Claimed,
        Included,
        Overdue
    }

    struct Request {
        address requester;
        uint64 rollupId;
        State state;
        uint64 deadline; // Unix seconds: last agreed time of a sub-block that may seal it
        uint64 claimedUntil; // Unix seconds: last moment to answer a claim, but see `answerUntil`
        uint64 l1Block; // number of the request's block
        bytes32 l1BlockHash; // zero until anchored
        bytes32 content; // of the deposit that the rollup must include
    }

    /// @notice Where a deposit is in the rollup, and how that follows from a checkpoint.
    struct InclusionProof {
        CheckpointProofs.SubBlockProof subBlock; // that sealed the block
        bytes blockHeader; // RLP, of the rollup's block
        uint256 transactionIndex; // in that block
        bytes[] trieProof; // of the transaction
        uint256 logIndex; // of the deposit's event in its L1 block
    }

    uint8 private constant DEPOSIT_TYPE = 0x7e;
    uint64 private constant TIME_MAX = 365 days;
    uint256 private constant DEPOSIT_FIELDS = 8;

    PlaitRegistry public immutable registry;
    uint64 public immutable windowS; // time that the network has
    uint64 public immutable challengeS; // time that an answer to a claim has
    uint256 public immutable bond; // wei that a claim risks
    address private immutable senderCode;

    uint256 public requestCount;
    mapping(uint256 => Request) private requests; // by id, from 1
    mapping(bytes32 => uint256) public requestOf; // by source hash of a proven inclusion
    mapping(uint64 => uint256) public overdueCount; // by rollup id
    mapping(address => uint256) public credit; // wei that an account may withdraw

    event Requested(uint256 indexed id, address indexed requester, uint64 indexed rollupId, address sender, uint64 deadline);
    event Included(uint256 indexed id, bytes32 sourceHash, bytes32 blockHash, uint256 timeMs);
    event Claimed(uint256 indexed id, uint64 until);
    event Overdue(uint256 indexed id, uint64 indexed rollupId);
    event Withdrawn(address indexed account, uint256 amount);

    error TimesOutOfBounds(uint64 window, uint64 challenge);
    error WrongState(State state);
    error NotRequester(address caller);
    error NotYet(uint256 timestamp, uint256 earliest);
    error TooLate(uint256 time, uint256 last);
    error BondWrong(uint256 given, uint256 expected);
    error BlockHashGone(uint64 number);
    error NotSealed(bytes32 blockHash);
    error NotThisDeposit();
    error InclusionUsed(uint256 id);
    error NothingToWithdraw();
    error RegistryHalted(uint64 height);
    error TransferFailed();

    constructor(PlaitRegistry plait, uint64 window, uint64 challenge, uint256 bondWei) {
        bool possible = window > 0 && window <= TIME_MAX && challenge > 0 && challenge <= TIME_MAX;
        if (!possible) revert TimesOutOfBounds(window, challenge);
        (registry, windowS, challengeS, bond) = (plait, window, challenge, bondWei);
        senderCode = address(new ForcedSender());
    }

    /// @notice Deposits a call on a rollup and starts its deadline. This call's ether is minted on the rollup for the
    ///         caller's sender there (`senderOnRollup`), which spends `value` of its balance on the call.
    function force(uint64 rollupId, address to, uint256 value, uint64 gasLimit, bool isCreation, bytes calldata data)
        external
        payable
        nonReentrant
        returns (uint256 id)
    {
        IPortal portal = IPortal(registry.rollupOf(rollupId).portal);
        ForcedSender sender = ForcedSender(senderOf(msg.sender));
        if (address(sender).code.length == 0) Clones.cloneDeterministic(senderCode, _salt(msg.sender));
        id = ++requestCount;
        Request storage request = requests[id];
        (request.requester, request.rollupId, request.state) = (msg.sender, rollupId, State.Open);
        (request.deadline, request.l1Block) = (uint64(block.timestamp) + windowS, uint64(block.number));
        address from = senderOnRollup(msg.sender);
        request.content = _content(from, isCreation ? address(0) : to, isCreation, msg.value, value, gasLimit, keccak256(data));
        emit Requested(id, msg.sender, rollupId, from, request.deadline);
        sender.deposit{ value: msg.value }(portal, to, value, gasLimit, isCreation, data);
    }

    /// @notice Keeps the hash of a request's L1 block while the EVM still knows it. Anybody may.
    function anchor(uint256 id) public {
        Request storage request = requests[id];
        if (request.state == State.None) revert WrongState(State.None);
        if (request.l1BlockHash != 0) return;
        bytes32 known = Blockhash.blockHash(request.l1Block);
        if (known == 0) revert BlockHashGone(request.l1Block);
        request.l1BlockHash = known;
    }

    /// @notice Shows that a request was sealed in time. Answers a claim and takes its bond.
    function prove(uint256 id, InclusionProof calldata proof) external {
        Request storage request = requests[id];
        State was = request.state;
        if (was != State.Open && was != State.Claimed) revert WrongState(was);
        if (was == State.Claimed && block.timestamp > answerUntil(id)) revert TooLate(block.timestamp, answerUntil(id));
        anchor(id);
        Memory.Slice[] memory header = BlockHeader.parseHeader(proof.blockHeader);
        bytes32 blockHash = keccak256(proof.blockHeader);
        uint256 timeMs = _checkSealed(request.rollupId, proof.subBlock, header, blockHash);
        if (timeMs > uint256(request.deadline) * 1000) revert TooLate(timeMs, uint256(request.deadline) * 1000);
        bytes32 sourceHash = _checkIncluded(request, proof, header);
        if (requestOf[sourceHash] != 0) revert InclusionUsed(requestOf[sourceHash]);
        requestOf[sourceHash] = id;
        request.state = State.Included;
        if (was == State.Claimed) credit[msg.sender] += bond;
        emit Included(id, sourceHash, blockHash, timeMs);
    }

    /// @notice Says that the deadline was missed, with a bond; open to an answer for the challenge time.
    function claim(uint256 id) external payable {
        Request storage request = requests[id];
        if (request.state != State.Open) revert WrongState(request.state);
        if (msg.sender != request.requester) revert NotRequester(msg.sender);
        if (block.timestamp <= request.deadline) revert NotYet(block.timestamp, uint256(request.deadline) + 1);
        if (msg.value != bond) revert BondWrong(msg.value, bond);
        anchor(id);
        (request.state, request.claimedUntil) = (State.Claimed, uint64(block.timestamp) + challengeS);
        emit Claimed(id, request.claimedUntil);
    }

    /// @notice Ends a claim that nobody answered. Anybody may.
    function settle(uint256 id) external {
        Request storage request = requests[id];
        if (request.state != State.Claimed) revert WrongState(request.state);
        if (registry.conflictHeight() != 0) revert RegistryHalted(registry.conflictHeight());
        if (block.timestamp <= answerUntil(id)) revert NotYet(block.timestamp, answerUntil(id) + 1);
        request.state = State.Overdue;
        ++overdueCount[request.rollupId];
        credit[request.requester] += bond;
        emit Overdue(id, request.rollupId);
    }

    /// @notice Pays the caller's credit to an account of its choice.
    function withdraw(address payable to) external nonReentrant {
        uint256 amount = credit[msg.sender];
        if (amount == 0) revert NothingToWithdraw();
        delete credit[msg.sender];
        emit Withdrawn(msg.sender, amount);
        (bool done,) = to.call{ value: amount }("");
        if (!done) revert TransferFailed();
    }

    function requestAt(uint256 id) external view returns (Request memory) {
        return requests[id];
    }

    /// @notice Whether a request's time is over and nobody has shown its inclusion: what a claim would say.
    function overdue(uint256 id) external view returns (bool) {
        State state = requests[id].state;
        return state == State.Overdue || (block.timestamp > requests[id].deadline && (state == State.Open || state == State.Claimed));
    }

    /// @notice Last moment to answer a claim. Nothing can be shown while the registry is halted, so a restart grants the time
    ///         anew.
    function answerUntil(uint256 id) public view returns (uint256) {
        uint256 afresh = uint256(registry.restartedAt()) + challengeS;
        uint256 until = requests[id].claimedUntil;
        return until > afresh ? until : afresh;
    }

    /// @notice Contract that deposits for an account; it exists from the account's first request on.
    function senderOf(address account) public view returns (address) {
        return Clones.predictDeterministicAddress(senderCode, _salt(account));
    }

    /// @notice Address by which an account's requests act on rollups.
    function senderOnRollup(address account) public view returns (address) {
        unchecked {
            return address(uint160(senderOf(account)) + uint160(0x1111000000000000000000000000000000001111));
        }
    }

    function _salt(address account) private pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }

    function _checkSealed(
        uint64 rollupId,
        CheckpointProofs.SubBlockProof calldata subBlock,
        Memory.Slice[] memory header,
        bytes32 blockHash
    ) private view returns (uint256 timeMs) {
        bytes32 sealedHash;
        (sealedHash, timeMs) = registry.verifySealedBlock(subBlock, rollupId, uint64(header.getNumber()));
        if (sealedHash != blockHash) revert NotSealed(blockHash);
    }

    /// @dev Source hash of the deposit that the proof shows, when it is the request's.
    function _checkIncluded(Request storage request, InclusionProof calldata proof, Memory.Slice[] memory header)
        private
        view
        returns (bytes32 sourceHash)
    {
        bytes memory key = RLP.encode(proof.transactionIndex);
        bytes memory transaction = TrieProof.traverse(header.getTransactionsRoot(), key, proof.trieProof);
        bytes32 content;
        (sourceHash, content) = _readDeposit(transaction);
        bytes32 source = keccak256(abi.encode(request.l1BlockHash, proof.logIndex));
        if (content != request.content || sourceHash != keccak256(abi.encode(uint256(0), source))) revert NotThisDeposit();
    }

    /// @dev 0x7e ++ [source hash, from, to, mint, value, gas limit, is system, data]
    function _readDeposit(bytes memory transaction) private pure returns (bytes32 sourceHash, bytes32 content) {
        if (uint8(transaction[0]) != DEPOSIT_TYPE) revert NotThisDeposit();
        Memory.Slice whole = Memory.asSlice(transaction);
        Memory.Slice[] memory fields = Memory.slice(whole, 1).readList();
        if (fields.length != DEPOSIT_FIELDS) revert NotThisDeposit();
        sourceHash = fields[0].readBytes32();
        bool isCreation = Memory.length(fields[2]) == 1;
        content = _content(
            fields[1].readAddress(),
            isCreation ? address(0) : fields[2].readAddress(),
            isCreation,
            fields[3].readUint256(),
            fields[4].readUint256(),
            uint64(fields[5].readUint256()),
            keccak256(fields[7].readBytes())
        );
    }

    function _content(
        address from,
        address to,
        bool isCreation,
        uint256 mint,
        uint256 value,
        uint64 gasLimit,
        bytes32 dataHash
    ) private pure returns (bytes32) {
        return keccak256(abi.encode(from, to, isCreation, mint, value, gasLimit, dataHash));
    }
}
