// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title DepositPortal: the deposit path of the OP Stack's portal, for development chains
/// @notice A deposit is an event: whoever derives the rollup turns every `TransactionDeposited` of this address into a
///         transaction of the first block of the L1 block's epoch, and a sequencer that leaves it out is overruled. The
///         interface, the rules and the prices are those of OptimismPortal2 of op-contracts (monorepo v1.16.11), so wallets
///         and tools cannot tell the difference; a chain that exists already keeps its own portal.
///         There is no owner, no pause and no withdrawal: ether that comes in stays. Deposits carry no chain id, so every
///         rollup has a portal of its own.
contract DepositPortal {
    /// @dev What deposits have bought lately: the state of a fee market of EIP-1559's kind, per L1 block.
    struct ResourceParams {
        uint128 prevBaseFee; // wei per L2 gas
        uint64 prevBoughtGas; // in the block of prevBlockNum
        uint64 prevBlockNum;
    }

    uint256 public constant MAX_RESOURCE_LIMIT = 20_000_000; // L2 gas that one L1 block may buy
    uint256 public constant ELASTICITY_MULTIPLIER = 10; // the target is a tenth of the limit
    uint256 public constant BASE_FEE_MAX_CHANGE_DENOMINATOR = 8;
    uint256 public constant MINIMUM_BASE_FEE = 1 gwei;
    uint256 public constant MAXIMUM_BASE_FEE = type(uint128).max;
    uint256 public constant DATA_BYTES_MAX = 120_000; // a block with one such deposit still fits the gossip's 128 kB
    uint64 private constant RECEIVE_GAS_LIMIT = 100_000;
    uint256 private constant DEPOSIT_VERSION = 0;
    uint256 private constant WAD = 1e18;

    ResourceParams public params;

    /// @notice `opaqueData` = mint (32 bytes), value (32), gas limit (8), is creation (1), data (the rest).
    event TransactionDeposited(address indexed from, address indexed to, uint256 indexed version, bytes opaqueData);

    error OptimismPortal_BadTarget();
    error OptimismPortal_GasLimitTooLow();
    error OptimismPortal_CalldataTooLarge();
    error OutOfGas();

    constructor() {
        params = ResourceParams(uint128(MINIMUM_BASE_FEE), 0, uint64(block.number));
    }

    /// @notice Ether sent here without data arrives at the sender's address on the rollup.
    receive() external payable {
        uint256 gasAtStart = gasleft();
        _deposit(msg.sender, msg.value, RECEIVE_GAS_LIMIT, false, "");
        _meter(RECEIVE_GAS_LIMIT, gasAtStart);
    }

    /// @notice A transaction on the rollup, forced by L1.
    /// @param to         Whom it calls; the zero address for a creation.
    /// @param value      Wei that it carries on the rollup, from the sender's balance there, this call's ether included.
    /// @param gasLimit   L2 gas, paid for by burning L1 gas.
    /// @param isCreation Whether it creates a contract.
    /// @param data       Its calldata or its initcode.
    function depositTransaction(address to, uint256 value, uint64 gasLimit, bool isCreation, bytes memory data)
        external
        payable
    {
        uint256 gasAtStart = gasleft();
        _deposit(to, value, gasLimit, isCreation, data);
        _meter(gasLimit, gasAtStart);
    }

    /// @notice Least gas limit of a deposit with this many bytes of data: above what the EVM takes before it runs (EIP-7623).
    function minimumGasLimit(uint64 byteCount) public pure returns (uint64) {
        return byteCount * 40 + 21_000;
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }

    function _deposit(address to, uint256 value, uint64 gasLimit, bool isCreation, bytes memory data) private {
        if (isCreation && to != address(0)) revert OptimismPortal_BadTarget();
        if (gasLimit < minimumGasLimit(uint64(data.length))) revert OptimismPortal_GasLimitTooLow();
        if (data.length > DATA_BYTES_MAX) revert OptimismPortal_CalldataTooLarge();
        // A contract's address may belong to somebody else on the rollup, so contracts act there under another one.
        address from = _isExternallyOwned() ? msg.sender : _alias(msg.sender);
        bytes memory opaqueData = abi.encodePacked(msg.value, value, gasLimit, isCreation, data);
        emit TransactionDeposited(from, to, DEPOSIT_VERSION, opaqueData);
    }

    /// @dev The sender signed the transaction, or carries an EIP-7702 delegation: then it has a key on the rollup too.
    function _isExternallyOwned() private view returns (bool) {
        if (msg.sender == tx.origin) return true;
        bytes memory code = msg.sender.code.length == 23 ? msg.sender.code : bytes("");
        return code.length == 23 && code[0] == 0xef && code[1] == 0x01 && code[2] == 0x00;
    }

    function _alias(address account) private pure returns (address) {
        unchecked {
            return address(uint160(account) + uint160(0x1111000000000000000000000000000000001111));
        }
    }

    /// @dev Charges for `amount` of L2 gas by burning L1 gas: the price falls and rises with what earlier L1 blocks bought.
    function _meter(uint64 amount, uint256 gasAtStart) private {
        ResourceParams memory now_ = params;
        uint256 blocks = block.number - now_.prevBlockNum;
        if (blocks > 0) {
            now_ = ResourceParams(uint128(_nextBaseFee(now_.prevBaseFee, now_.prevBoughtGas, blocks)), 0, uint64(block.number));
        }
        if (uint256(now_.prevBoughtGas) + amount > MAX_RESOURCE_LIMIT) revert OutOfGas();
        now_.prevBoughtGas += amount;
        params = now_;

        uint256 cost = uint256(amount) * now_.prevBaseFee;
        uint256 gasCost = cost / (block.basefee > 1 gwei ? block.basefee : 1 gwei);
        uint256 used = gasAtStart - gasleft();
        if (gasCost > used) _burn(gasCost - used);
    }

    /// @dev Base fee after a block that bought `bought`, and after `blocks - 1` more in which nothing was bought.
    function _nextBaseFee(uint256 baseFee, uint256 bought, uint256 blocks) private pure returns (uint256 next) {
        uint256 target = MAX_RESOURCE_LIMIT / ELASTICITY_MULTIPLIER;
        uint256 scale = target * BASE_FEE_MAX_CHANGE_DENOMINATOR;
        next = bought > target ? baseFee + (baseFee * (bought - target)) / scale : baseFee - (baseFee * (target - bought)) / scale;
        next = _clamp(next);
        if (blocks > 1) next = _clamp((next * _powerOfSevenEighths(blocks - 1)) / WAD);
    }

    function _clamp(uint256 fee) private pure returns (uint256) {
        if (fee < MINIMUM_BASE_FEE) return MINIMUM_BASE_FEE;
        return fee > MAXIMUM_BASE_FEE ? MAXIMUM_BASE_FEE : fee;
    }

    /// @dev (7/8) ** exponent as a fraction of WAD, by repeated squaring; 0 where it is below one part in 1e18.
    function _powerOfSevenEighths(uint256 exponent) private pure returns (uint256 power) {
        uint256 square = WAD - WAD / BASE_FEE_MAX_CHANGE_DENOMINATOR;
        for (power = WAD; exponent > 0 && power > 0; exponent >>= 1) {
            if (exponent & 1 == 1) power = (power * square) / WAD;
            square = (square * square) / WAD;
        }
    }

    function _burn(uint256 amount) private view {
        uint256 start = gasleft();
        while (start - gasleft() < amount) { }
    }
}
