// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import { L2ToL2CrossDomainMessenger } from "interop/L2ToL2CrossDomainMessenger.sol";
import { MESSENGER } from "interop/Predeploys.sol";

/// @title Itinerary: a call that travels over rollups, hop after hop, each hop a message from the one before
/// @notice For scenario tests. Stands at the same address on every rollup (CREATE2). A hop calls its target where it is; the
///         first word of the answer can be fed into the next hop and decide whether the journey goes on.
contract Itinerary {
    struct Hop {
        uint256 chain; // where the call is made
        address target;
        bytes data;
        bool feed; // append the answer of the hop before to `data`
        uint256 least; // the journey ends here when the answer before is below this
    }

    uint256 public begun;
    uint256 public arrivals;
    uint256 public ended;
    uint256 public answer;

    uint256 transient within;

    event Ended(uint256 indexed hopsLeft, uint256 answer);

    error OnlyFromItself();

    /// @notice Begins journeys, one after the other, in one transaction.
    function start(Hop[][] calldata journeys) external {
        begun += journeys.length;
        within = 1;
        for (uint256 i = 0; i < journeys.length; i++) _go(journeys[i], 0);
    }

    /// @notice Begins a journey and undoes it within the same transaction, which goes on.
    function startAndRevert(Hop[][] calldata journeys) external {
        try this.startThenRevert(journeys) { } catch { begun += 1; }
    }

    function startThenRevert(Hop[][] calldata journeys) external {
        this.start(journeys);
        revert("undone");
    }

    /// @notice Goes on with a journey. Only this contract on another rollup may ask for it.
    function arrive(Hop[] calldata hops, uint256 value) external {
        if (msg.sender != MESSENGER) revert OnlyFromItself();
        if (L2ToL2CrossDomainMessenger(MESSENGER).crossDomainMessageSender() != address(this)) revert OnlyFromItself();
        arrivals += 1;
        _go(hops, value);
    }

    /// @notice Whether a journey began in this very transaction.
    function beganHere() external view returns (uint256) {
        return within;
    }

    /// @notice Answers what it is asked with.
    function echo(uint256 value) external pure returns (uint256) {
        return value;
    }

    /// @notice Sends itself back and forth without end.
    function forever(uint256 here, uint256 there) external {
        if (msg.sender == MESSENGER) arrivals += 1;
        L2ToL2CrossDomainMessenger(MESSENGER).sendMessage(there, address(this), abi.encodeCall(this.forever, (there, here)));
    }

    function _go(Hop[] calldata hops, uint256 value) private {
        for (uint256 i = 0; i < hops.length; i++) {
            Hop calldata hop = hops[i];
            if (value < hop.least) {
                _end(hops.length - i, value);
                return;
            }
            if (hop.chain != block.chainid) {
                L2ToL2CrossDomainMessenger(MESSENGER)
                    .sendMessage(hop.chain, address(this), abi.encodeCall(this.arrive, (_from(hops, i), value)));
                return;
            }
            bytes memory data = hop.feed ? abi.encodePacked(hop.data, value) : hop.data;
            (bool success, bytes memory result) = hop.target.call(data);
            if (!success) {
                assembly {
                    revert(add(result, 32), mload(result))
                }
            }
            value = result.length >= 32 ? abi.decode(result, (uint256)) : 0;
        }
        _end(0, value);
    }

    function _from(Hop[] calldata hops, uint256 first) private pure returns (Hop[] memory rest) {
        rest = new Hop[](hops.length - first);
        for (uint256 i = 0; i < rest.length; i++) rest[i] = hops[first + i];
    }

    function _end(uint256 hopsLeft, uint256 value) private {
        ended += 1;
        answer = value;
        emit Ended(hopsLeft, value);
    }
}
