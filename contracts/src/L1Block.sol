// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title L1Block: what a rollup knows about its L1 origin (predeploy 0x4200000000000000000000000000000000000015)
/// @notice Written by us to the published interface (OP Stack specs: predeploys, ecotone/isthmus/jovian L1 attributes).
///         The execution client reads fees straight from these storage slots, so their order and packing are consensus:
///         0 number+timestamp, 1 basefee, 2 hash, 3 sequenceNumber+blobBaseFeeScalar+baseFeeScalar, 4 batcherHash,
///         5 l1FeeOverhead, 6 l1FeeScalar, 7 blobBaseFee, 8 operatorFeeConstant+operatorFeeScalar+daFootprintGasScalar.
///         From Ecotone on the setters take tightly packed calldata instead of ABI words; it saves L2 gas in every block.
contract L1Block {
    uint64 public number;
    uint64 public timestamp;
    uint256 public basefee;
    bytes32 public hash;
    uint64 public sequenceNumber;
    uint32 public blobBaseFeeScalar;
    uint32 public baseFeeScalar;
    bytes32 public batcherHash;
    uint256 public l1FeeOverhead;
    uint256 public l1FeeScalar;
    uint256 public blobBaseFee;
    uint64 public operatorFeeConstant;
    uint32 public operatorFeeScalar;
    uint16 public daFootprintGasScalar;

    /// @notice The only account that may set values: the sender of the L1-attributes deposit.
    address public constant DEPOSITOR_ACCOUNT = 0xDeaDDEaDDeAdDeAdDEAdDEaddeAddEAdDEAd0001;

    error NotDepositor();

    modifier onlyDepositor() {
        if (msg.sender != DEPOSITOR_ACCOUNT) revert NotDepositor();
        _;
    }

    /// @notice Bedrock layout (ABI encoded).
    function setL1BlockValues(
        uint64 _number,
        uint64 _timestamp,
        uint256 _basefee,
        bytes32 _hash,
        uint64 _sequenceNumber,
        bytes32 _batcherHash,
        uint256 _l1FeeOverhead,
        uint256 _l1FeeScalar
    ) external onlyDepositor {
        number = _number;
        timestamp = _timestamp;
        basefee = _basefee;
        hash = _hash;
        sequenceNumber = _sequenceNumber;
        batcherHash = _batcherHash;
        l1FeeOverhead = _l1FeeOverhead;
        l1FeeScalar = _l1FeeScalar;
    }

    /// @notice Ecotone layout: 164 bytes packed.
    function setL1BlockValuesEcotone() external onlyDepositor {
        _setEcotone();
    }

    /// @notice Isthmus layout: Ecotone's, then uint32 operatorFeeScalar, uint64 operatorFeeConstant (176 bytes).
    function setL1BlockValuesIsthmus() external onlyDepositor {
        _setEcotone();
        _setOperatorFee();
    }

    /// @notice Jovian layout: Isthmus', then uint16 daFootprintGasScalar (178 bytes).
    function setL1BlockValuesJovian() external onlyDepositor {
        _setEcotone();
        _setOperatorFee();
        daFootprintGasScalar = uint16(_packed(176, 2));
    }

    function _setEcotone() private {
        baseFeeScalar = uint32(_packed(4, 4));
        blobBaseFeeScalar = uint32(_packed(8, 4));
        sequenceNumber = uint64(_packed(12, 8));
        timestamp = uint64(_packed(20, 8));
        number = uint64(_packed(28, 8));
        basefee = _packed(36, 32);
        blobBaseFee = _packed(68, 32);
        hash = bytes32(_packed(100, 32));
        batcherHash = bytes32(_packed(132, 32));
    }

    function _setOperatorFee() private {
        operatorFeeScalar = uint32(_packed(164, 4));
        operatorFeeConstant = uint64(_packed(168, 8));
    }

    /// @dev Big-endian integer of `size` bytes at `offset` of the calldata (bytes past its end read as zero).
    function _packed(uint256 offset, uint256 size) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(sub(256, mul(8, size)), calldataload(offset))
        }
    }
}
