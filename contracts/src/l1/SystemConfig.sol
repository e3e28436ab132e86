// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { Ownable } from "@openzeppelin/contracts/access/Ownable.sol";
import { Ownable2Step } from "@openzeppelin/contracts/access/Ownable2Step.sol";

/// @title SystemConfig: what a rollup's L1 origin says about its batcher, its limits and its fees
/// @notice Written to the published interface (OP Stack specs: system config) and to what op-node v1.16.11 decodes
///         (op-node/rollup/derive/system_config.go). A change is an event: it holds for every block of the rollup whose L1
///         origin is the event's block or a later one. Give ownership to a Timelock: users of the rollup then see every
///         change before it holds.
/// @dev The node reads the unsafe block signer with a storage proof from a fixed slot and does not start without one.
contract SystemConfig is Ownable2Step {
    enum UpdateType {
        BATCHER,
        FEE_SCALARS,
        GAS_LIMIT,
        UNSAFE_BLOCK_SIGNER,
        EIP_1559_PARAMS,
        OPERATOR_FEE_PARAMS,
        MIN_BASE_FEE,
        DA_FOOTPRINT_GAS_SCALAR
    }

    /// @notice What a new rollup starts with, in the fields of its rollup configuration.
    struct Start {
        address batcher;
        uint32 basefeeScalar;
        uint32 blobbasefeeScalar;
        uint64 gasLimit;
        address unsafeBlockSigner;
        address batchInbox;
        address portal;
        uint256 l2ChainId;
    }

    uint256 public constant VERSION = 0;
    bytes32 public constant UNSAFE_BLOCK_SIGNER_SLOT = keccak256("systemconfig.unsafeblocksigner");
    uint64 private constant GAS_LIMIT_MIN = 21_000_000; // what deposits of one L1 block may buy, and the attributes' own
    uint64 private constant GAS_LIMIT_MAX = 500_000_000;

    bytes32 public batcherHash;
    uint256 public overhead; // always zero: means nothing since Ecotone
    uint256 public scalar; // version byte 1, then both scalars as the rollup configuration writes them
    uint32 public basefeeScalar;
    uint32 public blobbasefeeScalar;
    uint64 public gasLimit;
    uint32 public eip1559Denominator;
    uint32 public eip1559Elasticity;
    uint32 public operatorFeeScalar;
    uint64 public operatorFeeConstant;
    uint64 public minBaseFee;
    uint16 public daFootprintGasScalar;
    address public batchInbox;
    address public optimismPortal;
    uint256 public l2ChainId;
    uint256 public startBlock;

    event ConfigUpdate(uint256 indexed version, UpdateType indexed updateType, bytes data);

    error GasLimitOutOfBounds(uint64 given, uint64 least, uint64 most);
    error ZeroDenominator();
    error ZeroElasticity();
    error ZeroSigner();

    constructor(address owner, Start memory start) Ownable(owner) {
        _setBatcherHash(bytes32(uint256(uint160(start.batcher))));
        _setFeeScalars(start.basefeeScalar, start.blobbasefeeScalar);
        _setGasLimit(start.gasLimit);
        _storeSigner(start.unsafeBlockSigner);
        (batchInbox, optimismPortal, l2ChainId) = (start.batchInbox, start.portal, start.l2ChainId);
        startBlock = block.number;
    }

    function setBatcherHash(address batcher) external onlyOwner {
        _setBatcherHash(bytes32(uint256(uint160(batcher))));
    }

    function setBatcherHash(bytes32 hash) external onlyOwner {
        _setBatcherHash(hash);
    }

    function setGasConfigEcotone(uint32 baseFee, uint32 blobBaseFee) external onlyOwner {
        _setFeeScalars(baseFee, blobBaseFee);
    }

    function setGasLimit(uint64 limit) external onlyOwner {
        _setGasLimit(limit);
    }

    function setUnsafeBlockSigner(address signer) external onlyOwner {
        _storeSigner(signer);
        emit ConfigUpdate(VERSION, UpdateType.UNSAFE_BLOCK_SIGNER, abi.encode(signer));
    }

    function setEIP1559Params(uint32 denominator, uint32 elasticity) external onlyOwner {
        if (denominator == 0) revert ZeroDenominator();
        if (elasticity == 0) revert ZeroElasticity();
        (eip1559Denominator, eip1559Elasticity) = (denominator, elasticity);
        emit ConfigUpdate(VERSION, UpdateType.EIP_1559_PARAMS, abi.encode((uint256(denominator) << 32) | elasticity));
    }

    function setOperatorFeeScalars(uint32 feeScalar, uint64 feeConstant) external onlyOwner {
        (operatorFeeScalar, operatorFeeConstant) = (feeScalar, feeConstant);
        emit ConfigUpdate(VERSION, UpdateType.OPERATOR_FEE_PARAMS, abi.encode((uint256(feeScalar) << 64) | feeConstant));
    }

    function setMinBaseFee(uint64 fee) external onlyOwner {
        minBaseFee = fee;
        emit ConfigUpdate(VERSION, UpdateType.MIN_BASE_FEE, abi.encode(fee));
    }

    function setDAFootprintGasScalar(uint16 footprintScalar) external onlyOwner {
        daFootprintGasScalar = footprintScalar;
        emit ConfigUpdate(VERSION, UpdateType.DA_FOOTPRINT_GAS_SCALAR, abi.encode(footprintScalar));
    }

    function unsafeBlockSigner() external view returns (address signer) {
        bytes32 slot = UNSAFE_BLOCK_SIGNER_SLOT;
        assembly ("memory-safe") {
            signer := sload(slot)
        }
    }

    function minimumGasLimit() external pure returns (uint64) {
        return GAS_LIMIT_MIN;
    }

    function maximumGasLimit() external pure returns (uint64) {
        return GAS_LIMIT_MAX;
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }

    function _setBatcherHash(bytes32 hash) private {
        batcherHash = hash;
        emit ConfigUpdate(VERSION, UpdateType.BATCHER, abi.encode(hash));
    }

    function _setFeeScalars(uint32 baseFee, uint32 blobBaseFee) private {
        (basefeeScalar, blobbasefeeScalar) = (baseFee, blobBaseFee);
        scalar = (uint256(1) << 248) | (uint256(blobBaseFee) << 32) | baseFee;
        emit ConfigUpdate(VERSION, UpdateType.FEE_SCALARS, abi.encode(overhead, scalar));
    }

    function _setGasLimit(uint64 limit) private {
        if (limit < GAS_LIMIT_MIN || limit > GAS_LIMIT_MAX) revert GasLimitOutOfBounds(limit, GAS_LIMIT_MIN, GAS_LIMIT_MAX);
        gasLimit = limit;
        emit ConfigUpdate(VERSION, UpdateType.GAS_LIMIT, abi.encode(limit));
    }

    /// @dev An empty slot would be an empty storage trie on a fresh contract, which the node's proof check refuses.
    function _storeSigner(address signer) private {
        if (signer == address(0)) revert ZeroSigner();
        bytes32 slot = UNSAFE_BLOCK_SIGNER_SLOT;
        assembly ("memory-safe") {
            sstore(slot, signer)
        }
    }
}
