// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { ERC20Burnable } from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { CheckpointProofs } from "l1/CheckpointProofs.sol";
import { PlaitRegistry } from "l1/PlaitRegistry.sol";

/// @title StakeVault: PLAIT that lies on L1 while it works as stake in the network's ledger
/// @notice In: `deposit` locks tokens for an account of the ledger. Out: whoever wants tokens back on L1 sends them, in the
///         ledger, to the *exit account* of the recipient, an address without a key. Its balance there never falls, so it is
///         the sum of all that ever left for this recipient; proven against a checkpoint, the vault releases what it has not
///         released yet. Nothing can be replayed: a proof shows a sum, not a payment.
///
///             transfer to the exit account (ledger) -> request (proof) -> unbondingS pass -> claim, by anybody
///
///         While a withdrawal waits, more than two thirds of the validators' power may slash it. A halted registry pays
///         nothing, and after a restart every withdrawal that was waiting waits again, for the new set to look at.
/// @dev Stake leaves bonds by the ledger's own unbonding first; the wait here is for faults that show up on the way out. The
///      vault pays no more than it holds: deposits, and whatever is put in for genesis and issuance.
contract StakeVault is EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    struct Withdrawal {
        address recipient;
        uint64 requestedAt; // Unix seconds
        bool paid;
        uint256 amount; // what is left after slashes
    }

    uint256 public constant DEPOSIT_MIN = 1 ether; // one PLAIT: dust would cost the ledger more than it brings
    uint256 public constant DEPOSITS_PER_BLOCK_MAX = 128; // what the network's agreed data of one L1 block hold
    bytes32 private constant SLASH_TYPE =
        keccak256("Slash(uint64 epoch,uint256 withdrawalId,uint256 amount,uint256 nonce)");

    IERC20 public immutable token;
    PlaitRegistry public immutable registry;
    uint64 public immutable unbondingS;

    uint256 public depositCount;
    uint128 private depositBlock; // the last block with a deposit
    uint128 private depositsInBlock;
    uint256 public withdrawalCount;
    mapping(uint256 => Withdrawal) private withdrawals; // by id, from 1
    mapping(uint256 => uint256) public slashNonces; // by withdrawal id: number of the next slash
    mapping(address => uint256) public released; // by recipient: part of its exit balance that was requested
    uint256 public waiting; // sum of withdrawals that are not paid

    event Deposited(uint256 indexed nonce, address indexed from, address indexed account, uint256 amount);
    event Requested(uint256 indexed id, address indexed recipient, uint256 amount, uint256 exitBalance);
    event Slashed(uint256 indexed id, uint256 amount);
    event Paid(uint256 indexed id, address indexed recipient, uint256 amount);

    error UnbondingOutOfBounds(uint64 given);
    error AccountZero();
    error DepositTooSmall(uint256 amount, uint256 least);
    error BlockFull(uint256 number);
    error TransferDiffers(uint256 received, uint256 expected);
    error NothingNew(uint256 exitBalance, uint256 released);
    error WithdrawalUnknown(uint256 id);
    error AlreadyPaid(uint256 id);
    error NotYet(uint256 timestamp, uint256 earliest);
    error TooLate(uint256 timestamp, uint256 last);
    error SlashTooLarge(uint256 amount, uint256 left);
    error RegistryHalted(uint64 height);

    constructor(IERC20 plait, PlaitRegistry plaitRegistry, uint64 unbonding) EIP712("StakeVault", "1") {
        if (unbonding == 0 || unbonding > 365 days) revert UnbondingOutOfBounds(unbonding);
        (token, registry, unbondingS, depositBlock) = (plait, plaitRegistry, unbonding, uint128(block.number));
    }

    /// @notice Locks tokens for an account of the ledger. The ledger counts deposits by their nonce, and credits them once
    ///         their block is final to it.
    function deposit(address account, uint256 amount) external nonReentrant returns (uint256 nonce) {
        if (account == address(0)) revert AccountZero();
        if (amount < DEPOSIT_MIN) revert DepositTooSmall(amount, DEPOSIT_MIN);
        if (depositBlock != block.number) (depositBlock, depositsInBlock) = (uint128(block.number), 0);
        if (depositsInBlock++ == DEPOSITS_PER_BLOCK_MAX) revert BlockFull(block.number);
        nonce = depositCount++;
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert TransferDiffers(received, amount);
        emit Deposited(nonce, msg.sender, account, amount);
    }

    /// @notice Starts the withdrawal of what the recipient's exit account has received since the last request. Anybody may.
    function request(address recipient, CheckpointProofs.SubBlockProof calldata where, CheckpointProofs.AccountProof calldata proof)
        external
        returns (uint256 id)
    {
        if (recipient == address(0)) revert AccountZero();
        (uint256 balance,) = registry.verifyAccount(where, exitAccount(recipient), proof);
        if (balance <= released[recipient]) revert NothingNew(balance, released[recipient]);
        uint256 amount = balance - released[recipient];
        released[recipient] = balance;
        waiting += amount;
        id = ++withdrawalCount;
        withdrawals[id] = Withdrawal(recipient, uint64(block.timestamp), false, amount);
        emit Requested(id, recipient, amount, balance);
    }

    /// @notice Burns a part of a waiting withdrawal, by more than two thirds of the current set's power.
    function slash(
        uint256 id,
        uint256 amount,
        PlaitRegistry.Validator[] calldata set,
        PlaitRegistry.Signatures calldata signatures
    ) external nonReentrant {
        Withdrawal storage withdrawal = _unpaid(id);
        if (block.timestamp > readyAt(id)) revert TooLate(block.timestamp, readyAt(id));
        registry.checkQuorum(slashDigest(id, amount), set, signatures);
        if (amount > withdrawal.amount) revert SlashTooLarge(amount, withdrawal.amount);
        ++slashNonces[id];
        withdrawal.amount -= amount;
        waiting -= amount;
        emit Slashed(id, amount);
        ERC20Burnable(address(token)).burn(amount);
    }

    /// @notice Pays a withdrawal to its recipient once its time is over. Anybody may.
    function claim(uint256 id) external nonReentrant {
        Withdrawal storage withdrawal = _unpaid(id);
        if (registry.conflictHeight() != 0) revert RegistryHalted(registry.conflictHeight());
        if (block.timestamp <= readyAt(id)) revert NotYet(block.timestamp, readyAt(id) + 1);
        withdrawal.paid = true;
        waiting -= withdrawal.amount;
        emit Paid(id, withdrawal.recipient, withdrawal.amount);
        token.safeTransfer(withdrawal.recipient, withdrawal.amount);
    }

    /// @notice What validators of the current set sign for a withdrawal's next slash.
    function slashDigest(uint256 id, uint256 amount) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(SLASH_TYPE, registry.epoch(), id, amount, slashNonces[id])));
    }

    /// @notice Account of the ledger whose tokens leave for `recipient`. Nobody has its key: it is a hash.
    function exitAccount(address recipient) public view returns (address) {
        return address(bytes20(keccak256(abi.encode("plait.stake.exit", block.chainid, address(this), recipient))));
    }

    /// @notice Last second at which a withdrawal may be slashed; it may be claimed after that.
    function readyAt(uint256 id) public view returns (uint256) {
        uint64 since = withdrawals[id].requestedAt;
        uint64 restarted = registry.restartedAt();
        return uint256(since > restarted ? since : restarted) + unbondingS;
    }

    function withdrawalAt(uint256 id) external view returns (Withdrawal memory) {
        return withdrawals[id];
    }

    function _unpaid(uint256 id) private view returns (Withdrawal storage withdrawal) {
        withdrawal = withdrawals[id];
        if (withdrawal.recipient == address(0)) revert WithdrawalUnknown(id);
        if (withdrawal.paid) revert AlreadyPaid(id);
    }
}
