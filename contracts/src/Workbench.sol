// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @dev Lives or dies as its maker says: the object of creation and self-destruction tests.
contract Part {
    uint256 public stored;

    constructor(uint256 value, bool dies) payable {
        stored = value;
        if (dies) selfdestruct(payable(msg.sender));
    }

    receive() external payable { }

    function destroy(address payable heir) external {
        selfdestruct(heir);
    }
}

/// @title Workbench: one contract with a function for every corner of the EVM that two clients could disagree about
/// @notice For conformance tests and client tests: reverts of all kinds, storage, logs, creation, destruction, precompiles.
contract Workbench {
    mapping(uint256 => uint256) public cells;
    uint256 public counter;
    address public lastCreated;

    event Counted(address indexed by, uint256 value);
    event Noted(uint256 indexed a, uint256 indexed b, uint256 indexed c, bytes data);

    error Refused(uint256 code, string reason);

    receive() external payable { }

    function count() external payable returns (uint256) {
        counter += 1;
        emit Counted(msg.sender, counter);
        return counter;
    }

    function revertReason(string calldata reason) external pure {
        revert(reason);
    }

    function revertCustom(uint256 code) external pure {
        revert Refused(code, "as asked");
    }

    function revertPlain() external pure {
        revert();
    }

    function panic(uint256 divisor) external pure returns (uint256) {
        return 1 / divisor;
    }

    function invalid() external pure {
        assembly {
            invalid()
        }
    }

    /// @notice Writes `value` into `size` cells from `first`; zero clears them (gas refunds).
    function fill(uint256 first, uint256 size, uint256 value) external {
        for (uint256 i = first; i < first + size; i++) cells[i] = value;
    }

    /// @notice Spends gas until less than `rest` is left.
    function burn(uint256 rest) external {
        uint256 value = 1;
        while (gasleft() > rest) value = uint256(keccak256(abi.encode(value)));
        counter = value;
    }

    function note(uint256 size, uint256 times) external {
        bytes memory data = new bytes(size);
        for (uint256 i = 0; i < size; i++) data[i] = bytes1(uint8(i * 7 + times));
        for (uint256 i = 0; i < times; i++) emit Noted(i, size, block.number, data);
    }

    function create(uint256 value, bool destroy) external payable returns (address made) {
        made = address(new Part{ value: msg.value }(value, destroy));
        lastCreated = made;
    }

    function create2(bytes32 salt, uint256 value, bool destroy) external payable returns (address made) {
        made = address(new Part{ salt: salt, value: msg.value }(value, destroy));
        lastCreated = made;
    }

    /// @notice Makes a contract and destroys it in the same transaction (it is gone, EIP-6780).
    function createAndDestroy(bytes32 salt, address payable heir) external payable {
        Part part = new Part{ salt: salt, value: msg.value }(7, false);
        part.destroy(heir);
    }

    /// @notice Destroys the contract made last, in a later transaction (only its ether moves, EIP-6780).
    function destroyLast(address payable heir) external {
        Part(payable(lastCreated)).destroy(heir);
    }

    /// @notice Stores the hash of what a call answers, success or not; a revert inside does not revert here.
    function probe(address target, bytes calldata data, uint256 gasLimit) external payable returns (bool success) {
        bytes memory answer;
        (success, answer) = target.call{ gas: gasLimit, value: msg.value }(data);
        cells[uint256(keccak256(abi.encode(target, counter)))] = uint256(keccak256(abi.encode(success, answer)));
    }

    /// @notice Changes state, then calls itself and reverts there: the inner change is undone, the outer stays.
    function nested(uint256 cell, uint256 depth) external {
        cells[cell] = depth;
        if (depth == 0) revert("bottom");
        try this.nested(cell + 1, depth - 1) { } catch { counter += 1; }
    }

    /// @notice Everything a block tells a contract, folded into one storage cell.
    function environment() external {
        bytes32 fold = keccak256(
            abi.encode(
                block.number, block.timestamp, block.coinbase, block.gaslimit, block.basefee, block.blobbasefee, block.prevrandao
            )
        );
        fold = keccak256(abi.encode(fold, block.chainid, blockhash(block.number - 1), tx.origin, tx.gasprice, gasleft()));
        fold = keccak256(abi.encode(fold, address(this).balance, msg.sender.code.length, msg.sender.codehash));
        cells[block.number] = uint256(fold);
    }

    /// @notice Transient storage (EIP-1153): lives through one transaction, across calls.
    function transient_(uint256 key, uint256 value) external returns (uint256 before) {
        assembly {
            before := tload(key)
            tstore(key, value)
        }
        cells[key] = before + 1;
    }

    /// @notice mcopy (EIP-5656), and a revert whose data is as long as wanted.
    function revertLong(uint256 size) external pure {
        assembly {
            mstore(0, not(0))
            mcopy(size, 0, 32)
            revert(0, size)
        }
    }
}
