// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IToken {
    function balanceOf(address account) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// @title DemoExchange: a constant-product market between two assets, for demonstrations and tests
/// @notice `base` and `quote` are ERC-20 tokens; the zero address stands for ether (at most one of them). 0.3 % of every
///         trade stays with the liquidity providers. Reserves are accounted, so assets sent without a call change no price.
contract DemoExchange {
    address public immutable base;
    address public immutable quote;
    uint256 public reserveBase;
    uint256 public reserveQuote;

    uint256 public totalShares;
    mapping(address => uint256) public sharesOf;

    uint256 public constant FEE_PER_MILLE = 3;
    uint256 private locked = 1;

    event LiquidityAdded(address indexed provider, uint256 baseIn, uint256 quoteIn, uint256 shares);
    event LiquidityRemoved(address indexed provider, uint256 baseOut, uint256 quoteOut, uint256 shares);
    event Swap(address indexed trader, address indexed to, bool sellBase, uint256 amountIn, uint256 amountOut);
    event Reserves(uint256 base, uint256 quote);

    error SameAsset();
    error Reentered();
    error WrongValue(uint256 sent, uint256 needed);
    error AmountZero();
    error OutputTooLow(uint256 amountOut, uint256 amountOutMin);
    error DeadlinePassed(uint256 timestamp, uint256 deadline);
    error SharesTooLow(uint256 shares, uint256 needed);
    error TransferFailed();

    modifier guarded() {
        if (locked != 1) revert Reentered();
        locked = 2;
        _;
        locked = 1;
    }

    constructor(address _base, address _quote) {
        if (_base == _quote) revert SameAsset();
        base = _base;
        quote = _quote;
    }

    /// @notice What `amountIn` buys now, fee taken.
    function amountOutFor(bool sellBase, uint256 amountIn) public view returns (uint256) {
        (uint256 reserveIn, uint256 reserveOut) = sellBase ? (reserveBase, reserveQuote) : (reserveQuote, reserveBase);
        uint256 effective = amountIn * (1000 - FEE_PER_MILLE);
        return (effective * reserveOut) / (reserveIn * 1000 + effective);
    }

    /// @notice Sells `amountIn` of one asset for at least `amountOutMin` of the other.
    /// @param deadline last block timestamp at which the trade is wanted, in seconds
    function swap(bool sellBase, uint256 amountIn, uint256 amountOutMin, address to, uint256 deadline)
        external
        payable
        guarded
        returns (uint256 amountOut)
    {
        if (block.timestamp > deadline) revert DeadlinePassed(block.timestamp, deadline);
        if (amountIn == 0) revert AmountZero();
        amountOut = amountOutFor(sellBase, amountIn);
        if (amountOut < amountOutMin || amountOut == 0) revert OutputTooLow(amountOut, amountOutMin);
        _checkValue(sellBase ? amountIn : 0, sellBase ? 0 : amountIn);
        if (sellBase) {
            reserveBase += amountIn;
            reserveQuote -= amountOut;
        } else {
            reserveQuote += amountIn;
            reserveBase -= amountOut;
        }
        _take(sellBase ? base : quote, amountIn);
        _give(sellBase ? quote : base, to, amountOut);
        emit Swap(msg.sender, to, sellBase, amountIn, amountOut);
        emit Reserves(reserveBase, reserveQuote);
    }

    /// @notice Adds both assets. The first provider sets the price; later ones should keep the ratio (the excess is a gift).
    function addLiquidity(uint256 amountBase, uint256 amountQuote) external payable guarded returns (uint256 shares) {
        if (amountBase == 0 || amountQuote == 0) revert AmountZero();
        _checkValue(amountBase, amountQuote);
        if (totalShares == 0) {
            shares = _squareRoot(amountBase * amountQuote);
        } else {
            uint256 byBase = (amountBase * totalShares) / reserveBase;
            uint256 byQuote = (amountQuote * totalShares) / reserveQuote;
            shares = byBase < byQuote ? byBase : byQuote;
        }
        if (shares == 0) revert AmountZero();
        totalShares += shares;
        sharesOf[msg.sender] += shares;
        reserveBase += amountBase;
        reserveQuote += amountQuote;
        _take(base, amountBase);
        _take(quote, amountQuote);
        emit LiquidityAdded(msg.sender, amountBase, amountQuote, shares);
        emit Reserves(reserveBase, reserveQuote);
    }

    function removeLiquidity(uint256 shares) external guarded returns (uint256 amountBase, uint256 amountQuote) {
        uint256 owned = sharesOf[msg.sender];
        if (shares == 0) revert AmountZero();
        if (owned < shares) revert SharesTooLow(owned, shares);
        amountBase = (reserveBase * shares) / totalShares;
        amountQuote = (reserveQuote * shares) / totalShares;
        sharesOf[msg.sender] = owned - shares;
        totalShares -= shares;
        reserveBase -= amountBase;
        reserveQuote -= amountQuote;
        _give(base, msg.sender, amountBase);
        _give(quote, msg.sender, amountQuote);
        emit LiquidityRemoved(msg.sender, amountBase, amountQuote, shares);
        emit Reserves(reserveBase, reserveQuote);
    }

    function _checkValue(uint256 amountBase, uint256 amountQuote) private view {
        uint256 needed = base == address(0) ? amountBase : quote == address(0) ? amountQuote : 0;
        if (msg.value != needed) revert WrongValue(msg.value, needed);
    }

    function _take(address asset, uint256 amount) private {
        if (asset != address(0) && !IToken(asset).transferFrom(msg.sender, address(this), amount)) revert TransferFailed();
    }

    function _give(address asset, address to, uint256 amount) private {
        if (asset != address(0)) {
            if (!IToken(asset).transfer(to, amount)) revert TransferFailed();
            return;
        }
        (bool sent,) = to.call{ value: amount }("");
        if (!sent) revert TransferFailed();
    }

    /// @dev Integer square root, rounded down (Newton's method from above).
    function _squareRoot(uint256 value) private pure returns (uint256 root) {
        if (value == 0) return 0;
        root = value;
        uint256 next = value / 2 + 1;
        while (next < root) {
            root = next;
            next = (value / next + next) / 2;
        }
    }
}
