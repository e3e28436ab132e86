// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { L1Block } from "L1Block.sol";

/// @title GasPriceOracle: fees of a transaction beyond its L2 gas (predeploy 0x420000000000000000000000000000000000000F)
/// @notice Written by us to the published interface (OP Stack specs: Ecotone, Fjord, Isthmus and Jovian fee functions).
///         Slot 0 holds the four fork flags, one byte each, which genesis or the depositor sets.
contract GasPriceOracle {
    bool public isEcotone;
    bool public isFjord;
    bool public isIsthmus;
    bool public isJovian;

    L1Block private constant L1_BLOCK = L1Block(0x4200000000000000000000000000000000000015);
    address private constant DEPOSITOR = 0xDeaDDEaDDeAdDeAdDEAdDEaddeAddEAdDEAd0001;

    uint256 public constant DECIMALS = 6;
    /// @dev Linear estimate of a transaction's share of a compressed batch (Fjord): intercept + coefficient * FastLZ length.
    int256 private constant COST_INTERCEPT = -42_585_600;
    uint256 private constant COST_FASTLZ_COEFFICIENT = 836_500;
    uint256 private constant MINIMUM_TRANSACTION_BYTES = 100;
    /// @dev An unsigned transaction lacks its signature: 65 bytes and RLP prefixes.
    uint256 private constant SIGNATURE_BYTES = 68;

    error NotDepositor();
    error ForkOrder();
    error Deprecated();

    function setEcotone() external {
        _advance(!isEcotone);
        isEcotone = true;
    }

    function setFjord() external {
        _advance(isEcotone && !isFjord);
        isFjord = true;
    }

    function setIsthmus() external {
        _advance(isFjord && !isIsthmus);
        isIsthmus = true;
    }

    function setJovian() external {
        _advance(isIsthmus && !isJovian);
        isJovian = true;
    }

    function _advance(bool inOrder) private view {
        if (msg.sender != DEPOSITOR) revert NotDepositor();
        if (!inOrder) revert ForkOrder();
    }

    /// @notice L1 data fee in wei of a transaction given as its unsigned RLP encoding.
    function getL1Fee(bytes calldata _data) external view returns (uint256) {
        if (isFjord) return _fjordFee(_fastLzLength(_data) + SIGNATURE_BYTES);
        return (_calldataGas(_data) * _scaledFee()) / (16 * 10 ** DECIMALS);
    }

    /// @notice Upper bound of the L1 data fee in wei, from the size of the unsigned transaction alone. The formula is the
    ///         published one; data that does not compress at all exceeds it by about 1 % (FastLZ adds a byte per 32).
    function getL1FeeUpperBound(uint256 _unsignedTxSize) external view returns (uint256) {
        if (!isFjord) revert ForkOrder();
        uint256 size = _unsignedTxSize + SIGNATURE_BYTES;
        return _fjordFee(size + size / 255 + 16);
    }

    /// @notice L1 gas that the transaction's data stands for (Fjord: 16 per estimated compressed byte).
    function getL1GasUsed(bytes calldata _data) external view returns (uint256) {
        if (isFjord) return (_estimatedSizeScaled(_fastLzLength(_data) + SIGNATURE_BYTES) * 16) / 10 ** DECIMALS;
        return _calldataGas(_data);
    }

    /// @notice Operator fee in wei of `_gasUsed` gas; zero before Isthmus. Jovian changed the scalar's unit.
    function getOperatorFee(uint256 _gasUsed) external view returns (uint256) {
        if (!isIsthmus) return 0;
        uint256 scalar_ = L1_BLOCK.operatorFeeScalar();
        uint256 constant_ = L1_BLOCK.operatorFeeConstant();
        if (isJovian) return _saturatingAdd(_saturatingMul(_saturatingMul(_gasUsed, scalar_), 100), constant_);
        return _saturatingAdd(_saturatingMul(_gasUsed, scalar_) / 1e6, constant_);
    }

    function gasPrice() external view returns (uint256) {
        return block.basefee;
    }

    function baseFee() external view returns (uint256) {
        return block.basefee;
    }

    function l1BaseFee() external view returns (uint256) {
        return L1_BLOCK.basefee();
    }

    function blobBaseFee() external view returns (uint256) {
        return L1_BLOCK.blobBaseFee();
    }

    function baseFeeScalar() external view returns (uint32) {
        return L1_BLOCK.baseFeeScalar();
    }

    function blobBaseFeeScalar() external view returns (uint32) {
        return L1_BLOCK.blobBaseFeeScalar();
    }

    /// @notice Bedrock parameter; refused since Ecotone.
    function overhead() external view returns (uint256) {
        if (isEcotone) revert Deprecated();
        return L1_BLOCK.l1FeeOverhead();
    }

    /// @notice Bedrock parameter; refused since Ecotone.
    function scalar() external view returns (uint256) {
        if (isEcotone) revert Deprecated();
        return L1_BLOCK.l1FeeScalar();
    }

    function decimals() external pure returns (uint256) {
        return DECIMALS;
    }

    function version() external pure returns (string memory) {
        return "plait-1";
    }

    /// @dev 16 * baseFeeScalar * L1 base fee + blobBaseFeeScalar * blob base fee, scaled by 10**6.
    function _scaledFee() private view returns (uint256) {
        return uint256(L1_BLOCK.baseFeeScalar()) * 16 * L1_BLOCK.basefee()
            + uint256(L1_BLOCK.blobBaseFeeScalar()) * L1_BLOCK.blobBaseFee();
    }

    function _fjordFee(uint256 fastLzLength) private view returns (uint256) {
        return (_estimatedSizeScaled(fastLzLength) * _scaledFee()) / 10 ** (2 * DECIMALS);
    }

    function _estimatedSizeScaled(uint256 fastLzLength) private pure returns (uint256) {
        int256 estimate = COST_INTERCEPT + int256(COST_FASTLZ_COEFFICIENT * fastLzLength);
        int256 minimum = int256(MINIMUM_TRANSACTION_BYTES * 10 ** DECIMALS);
        return uint256(estimate > minimum ? estimate : minimum);
    }

    /// @dev Calldata gas of EIP-2028 (4 per zero byte, 16 per other), the signature counted as 68 non-zero bytes.
    function _calldataGas(bytes calldata data) private pure returns (uint256 total) {
        total = SIGNATURE_BYTES * 16;
        for (uint256 i = 0; i < data.length; i++) total += data[i] == 0 ? 4 : 16;
    }

    function _saturatingMul(uint256 a, uint256 b) private pure returns (uint256) {
        unchecked {
            uint256 c = a * b;
            return a == 0 || c / a == b ? c : type(uint256).max;
        }
    }

    function _saturatingAdd(uint256 a, uint256 b) private pure returns (uint256) {
        unchecked {
            uint256 c = a + b;
            return c >= a ? c : type(uint256).max;
        }
    }

    /// @dev Length of the FastLZ (level 1) encoding of `data`; the encoding itself is never made. The hash table, its
    ///      function and the limits are those that the Fjord specification fixes, so that every client gets one number.
    function _fastLzLength(bytes calldata data) private pure returns (uint256 length) {
        unchecked {
            uint256 size = data.length;
            uint256 limit = size < 13 ? 0 : size - 13; // matches start below this position
            uint32[] memory table = new uint32[](8192); // last position of every hash of three bytes
            uint256 anchor = 0; // first byte not yet encoded
            uint256 position = 2;
            while (position < limit) {
                uint256 candidate;
                uint256 distance;
                bool found = false;
                while (true) {
                    uint256 sequence = _threeBytes(data, position);
                    uint256 slot = _hash(sequence);
                    candidate = table[slot];
                    table[slot] = uint32(position);
                    distance = position - candidate;
                    if (position >= limit) break;
                    if (distance <= 0x1fff && sequence == _threeBytes(data, candidate)) {
                        found = true;
                        break;
                    }
                    position++;
                }
                if (!found || position + 1 >= limit) break; // the reference looks one byte ahead before it accepts a match
                if (position > anchor) length += _literalRun(position - anchor);
                uint256 matched = _matchLength(data, candidate + 3, position + 3, limit + 9);
                length += _matchRun(matched);
                position += matched;
                table[_hash(_threeBytes(data, position))] = uint32(position);
                position++;
                table[_hash(_threeBytes(data, position))] = uint32(position);
                position++;
                anchor = position;
            }
            length += _literalRun(size - anchor);
        }
    }

    /// @dev Bytes that `count` literals take: an instruction byte per 32.
    function _literalRun(uint256 count) private pure returns (uint256) {
        unchecked {
            uint256 rest = count % 32;
            return 33 * (count / 32) + (rest == 0 ? 0 : rest + 1);
        }
    }

    /// @dev Bytes that a match takes whose length field is `field`: three per 262, then two, or three from 6 on.
    function _matchRun(uint256 field) private pure returns (uint256) {
        unchecked {
            return 3 * ((field - 1) / 262) + ((field - 1) % 262 >= 6 ? 3 : 2);
        }
    }

    /// @dev Equal bytes at `a` and `b` before `end`, plus one for the byte that differed (none when `end` came first).
    function _matchLength(bytes calldata data, uint256 a, uint256 b, uint256 end) private pure returns (uint256 count) {
        unchecked {
            while (b + count < end) {
                bool same = data[a + count] == data[b + count];
                count++;
                if (!same) break;
            }
        }
    }

    /// @dev Three bytes at `index`, little-endian.
    function _threeBytes(bytes calldata data, uint256 index) private pure returns (uint256) {
        unchecked {
            return uint256(uint8(data[index])) | (uint256(uint8(data[index + 1])) << 8)
                | (uint256(uint8(data[index + 2])) << 16);
        }
    }

    /// @dev Fibonacci hash of 32-bit arithmetic to 13 bits.
    function _hash(uint256 sequence) private pure returns (uint256) {
        unchecked {
            return ((2654435769 * sequence) >> 19) & 0x1fff;
        }
    }
}
