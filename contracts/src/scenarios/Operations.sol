// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Operations: accounts without ether act through signed operations that a sponsor pays for
/// @notice For scenario tests: the roles of ERC-4337 (account, bundler, paymaster, entry point) in the least code that keeps
///         their promises to each other. An operation happens at most once, only as its owner signed it, and what the
///         bundler gets comes from the sponsor that the operation names, which had deposited it.
contract Operations {
    struct Operation {
        address owner;
        uint256 nonce;
        address target;
        bytes data;
        address sponsor;
        uint256 price; // what the bundler gets, in wei
    }

    mapping(address => uint256) public deposits;
    mapping(address => uint256) public nonces;
    mapping(address => SponsoredAccount) public accounts;

    error WrongNonce(uint256 expected);
    error WrongSignature();
    error SponsorOut(uint256 left);

    function deposit() external payable {
        deposits[msg.sender] += msg.value;
    }

    /// @notice Carries out an operation and pays the caller. The target's revert is passed on: nothing has happened then.
    function handle(Operation calldata operation, uint8 v, bytes32 r, bytes32 s) external returns (bytes memory result) {
        bytes32 digest = keccak256(abi.encode(block.chainid, address(this), operation));
        if (ecrecover(digest, v, r, s) != operation.owner || operation.owner == address(0)) revert WrongSignature();
        if (nonces[operation.owner] != operation.nonce) revert WrongNonce(nonces[operation.owner]);
        nonces[operation.owner] += 1;
        uint256 left = deposits[operation.sponsor];
        if (left < operation.price) revert SponsorOut(left);
        deposits[operation.sponsor] = left - operation.price;
        result = account(operation.owner).act(operation.target, operation.data);
        (bool paid,) = msg.sender.call{ value: operation.price }("");
        require(paid, "bundler refused its pay");
    }

    /// @notice The account of an owner; made when it is first asked for.
    function account(address owner) public returns (SponsoredAccount found) {
        found = accounts[owner];
        if (address(found) == address(0)) {
            found = new SponsoredAccount{ salt: bytes32(uint256(uint160(owner))) }();
            accounts[owner] = found;
        }
    }
}

/// @dev Acts as its entry point says; the entry point has checked the owner's signature.
contract SponsoredAccount {
    address private entry = msg.sender;

    function act(address target, bytes calldata data) external returns (bytes memory) {
        require(msg.sender == entry, "only the entry point");
        (bool success, bytes memory result) = target.call(data);
        if (!success) {
            assembly {
                revert(add(result, 32), mload(result))
            }
        }
        return result;
    }
}
