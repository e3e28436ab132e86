// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IAsset {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// @title OptionDesk: fully secured European options with physical delivery, for demonstrations and tests
/// @notice An option is a deal between a writer and a holder on `size` of the asset at `strike`. The writer's side is in
///         escrow here from the first moment: the asset itself for a call, the strike's worth of money for a put. So
///         nobody needs a price feed, a margin call or trust. Deals come about in two ways:
///
///             offer (writer escrows collateral) -> buy   (holder pays the premium)
///             bid   (holder escrows the premium) -> write (writer escrows collateral and gets the premium)
///
///         From `expiry` on, for EXERCISE_WINDOW, the holder may exercise; after that the writer takes the collateral back.
///         Every unit that comes in leaves again to the party that the terms name: the desk owns nothing and charges nothing.
/// @dev Both tokens must move exactly what a call asks for (no fee on transfer, no rebasing).
contract OptionDesk {
    enum Kind {
        Call, // the holder may buy the asset at the strike
        Put // the holder may sell the asset at the strike
    }

    enum State {
        None,
        Offered, // by the writer; the collateral is here
        Bid, // by the holder; the premium is here
        Open, // a deal; the collateral is here
        Exercised,
        Reclaimed, // not exercised in time; the collateral went back
        Withdrawn // nobody took it; what was here went back
    }

    struct Option {
        Kind kind;
        State state;
        address writer;
        address holder;
        uint256 size; // of the asset, in its smallest unit
        uint256 strike; // money for UNIT of the asset
        uint256 premium; // money for the whole option
        uint256 expiry; // first second at which it may be exercised
    }

    uint256 public constant UNIT = 1e18;
    uint256 public constant EXERCISE_WINDOW = 1 days;

    IAsset public immutable asset;
    IAsset public immutable money;
    Option[] private options;

    event Offered(uint256 indexed id, address indexed writer, Kind kind, uint256 size, uint256 strike, uint256 premium, uint256 expiry);
    event BidPlaced(uint256 indexed id, address indexed holder, Kind kind, uint256 size, uint256 strike, uint256 premium, uint256 expiry);
    event Dealt(uint256 indexed id, address indexed writer, address indexed holder, uint256 premium);
    event Exercised(uint256 indexed id, uint256 assetMoved, uint256 moneyMoved);
    event Reclaimed(uint256 indexed id);
    event Withdrawn(uint256 indexed id);

    error SameToken();
    error SizeZero();
    error ExpiryPassed(uint256 timestamp, uint256 expiry);
    error UnknownOption(uint256 id);
    error WrongState(State state, State needed);
    error NotParty(address caller);
    error TooEarly(uint256 timestamp, uint256 earliest);
    error TooLate(uint256 timestamp, uint256 last);
    error TransferFailed();

    constructor(address _asset, address _money) {
        if (_asset == _money) revert SameToken();
        (asset, money) = (IAsset(_asset), IAsset(_money));
    }

    // ---------------------------------------------------------------- making a deal

    /// @notice Offers to write an option; the collateral is taken now.
    function offer(Kind kind, uint256 size, uint256 strike, uint256 premium, uint256 expiry) external returns (uint256 id) {
        id = _add(Option(kind, State.Offered, msg.sender, address(0), size, strike, premium, expiry));
        emit Offered(id, msg.sender, kind, size, strike, premium, expiry);
        _takeCollateral(id);
    }

    /// @notice Bids for an option; the premium is taken now.
    function bid(Kind kind, uint256 size, uint256 strike, uint256 premium, uint256 expiry) external returns (uint256 id) {
        id = _add(Option(kind, State.Bid, address(0), msg.sender, size, strike, premium, expiry));
        emit BidPlaced(id, msg.sender, kind, size, strike, premium, expiry);
        _take(money, premium);
    }

    /// @notice Takes an offer: pays the premium to the writer and is the holder from now on.
    function buy(uint256 id) external {
        Option storage option = _inState(id, State.Offered);
        _checkBeforeExpiry(option.expiry);
        (option.state, option.holder) = (State.Open, msg.sender);
        emit Dealt(id, option.writer, msg.sender, option.premium);
        if (!money.transferFrom(msg.sender, option.writer, option.premium)) revert TransferFailed();
    }

    /// @notice Takes a bid: puts the collateral here, gets the premium and is the writer from now on.
    function write(uint256 id) external {
        Option storage option = _inState(id, State.Bid);
        _checkBeforeExpiry(option.expiry);
        (option.state, option.writer) = (State.Open, msg.sender);
        emit Dealt(id, msg.sender, option.holder, option.premium);
        _takeCollateral(id);
        _give(money, msg.sender, option.premium);
    }

    /// @notice Takes back an offer or a bid that nobody has taken.
    function withdraw(uint256 id) external {
        Option storage option = _at(id);
        State was = option.state;
        if (was != State.Offered && was != State.Bid) revert WrongState(was, State.Offered);
        if (msg.sender != (was == State.Offered ? option.writer : option.holder)) revert NotParty(msg.sender);
        option.state = State.Withdrawn;
        emit Withdrawn(id);
        if (was == State.Offered) _giveCollateral(id, msg.sender);
        else _give(money, msg.sender, option.premium);
    }

    // ---------------------------------------------------------------- its end

    /// @notice The holder's right: a call's holder pays the strike and gets the asset, a put's holder the other way round.
    function exercise(uint256 id) external {
        Option storage option = _inState(id, State.Open);
        if (msg.sender != option.holder) revert NotParty(msg.sender);
        if (block.timestamp < option.expiry) revert TooEarly(block.timestamp, option.expiry);
        uint256 last = option.expiry + EXERCISE_WINDOW - 1;
        if (block.timestamp > last) revert TooLate(block.timestamp, last);
        option.state = State.Exercised;
        (uint256 size, uint256 worth) = (option.size, worthOf(option.size, option.strike));
        emit Exercised(id, size, worth);
        (IAsset paid, uint256 amount) = option.kind == Kind.Call ? (money, worth) : (asset, size);
        if (!paid.transferFrom(msg.sender, option.writer, amount)) revert TransferFailed();
        _giveCollateral(id, msg.sender);
    }

    /// @notice The writer's collateral, once the holder's time is over.
    function reclaim(uint256 id) external {
        Option storage option = _inState(id, State.Open);
        if (msg.sender != option.writer) revert NotParty(msg.sender);
        uint256 earliest = option.expiry + EXERCISE_WINDOW;
        if (block.timestamp < earliest) revert TooEarly(block.timestamp, earliest);
        option.state = State.Reclaimed;
        emit Reclaimed(id);
        _giveCollateral(id, msg.sender);
    }

    // ---------------------------------------------------------------- reading

    function optionOf(uint256 id) external view returns (Option memory) {
        return _at(id);
    }

    function optionCount() external view returns (uint256) {
        return options.length;
    }

    /// @notice Money for `size` of the asset at `strike`, rounded up to the smallest unit: what secures a put and buys a call.
    function worthOf(uint256 size, uint256 strike) public pure returns (uint256) {
        return (size * strike + UNIT - 1) / UNIT;
    }

    // ---------------------------------------------------------------- inside

    function _add(Option memory option) private returns (uint256 id) {
        if (option.size == 0) revert SizeZero();
        _checkBeforeExpiry(option.expiry);
        id = options.length;
        options.push(option);
    }

    function _at(uint256 id) private view returns (Option storage) {
        if (id >= options.length) revert UnknownOption(id);
        return options[id];
    }

    function _inState(uint256 id, State needed) private view returns (Option storage option) {
        option = _at(id);
        if (option.state != needed) revert WrongState(option.state, needed);
    }

    function _checkBeforeExpiry(uint256 expiry) private view {
        if (block.timestamp >= expiry) revert ExpiryPassed(block.timestamp, expiry);
    }

    function _collateral(uint256 id) private view returns (IAsset token, uint256 amount) {
        Option storage option = options[id];
        return option.kind == Kind.Call ? (asset, option.size) : (money, worthOf(option.size, option.strike));
    }

    function _takeCollateral(uint256 id) private {
        (IAsset token, uint256 amount) = _collateral(id);
        _take(token, amount);
    }

    function _giveCollateral(uint256 id, address to) private {
        (IAsset token, uint256 amount) = _collateral(id);
        _give(token, to, amount);
    }

    function _take(IAsset token, uint256 amount) private {
        if (!token.transferFrom(msg.sender, address(this), amount)) revert TransferFailed();
    }

    function _give(IAsset token, address to, uint256 amount) private {
        if (!token.transfer(to, amount)) revert TransferFailed();
    }
}
