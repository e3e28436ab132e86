package main

import (
	"encoding/json"
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/ethereum-optimism/optimism/op-batcher/batcher"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
)

func init() {
	operations["batch_sizes"] = batchSizes
}

// Bytes of the calldata of each transaction that op-batcher makes of blocks, with its own channel builder: span batches,
// brotli, one channel after the other as each is full. The last channel is closed as it is.
func batchSizes(line []byte) (any, error) {
	var asked struct {
		Blocks      []hexutil.Bytes `json:"blocks"`
		GenesisTime uint64          `json:"genesis_time"`
		BlockTime   uint64          `json:"block_time"`
		ChainID     uint64          `json:"chain_id"`
		TxBytes     uint64          `json:"tx_bytes"`
		Frames      int             `json:"frames"`
	}
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	zero := uint64(0)
	config := &rollup.Config{
		Genesis:   rollup.Genesis{L2Time: asked.GenesisTime},
		BlockTime: asked.BlockTime,
		L2ChainID: new(big.Int).SetUint64(asked.ChainID),
		RegolithTime: &zero, CanyonTime: &zero, DeltaTime: &zero, EcotoneTime: &zero, FjordTime: &zero,
		GraniteTime: &zero, HoloceneTime: &zero, IsthmusTime: &zero, JovianTime: &zero,
	}
	terms := batcher.ChannelConfig{
		SeqWindowSize:   3600,
		ChannelTimeout:  50,
		SubSafetyMargin: 10,
		MaxFrameSize:    asked.TxBytes - 1, // the version byte
		TargetNumFrames: asked.Frames,
		BatchType:       derive.SpanBatchType,
	}
	terms.InitShadowCompressor(derive.Brotli10)
	sizes := []int{}
	take := func(builder *batcher.ChannelBuilder) error {
		builder.Close()
		if err := builder.OutputFrames(); err != nil {
			return err
		}
		for range builder.TotalFrames() {
			sizes = append(sizes, 0)
		}
		// bytes of all frames with their overhead, and each transaction's version byte
		sizes[len(sizes)-1] = builder.OutputBytes() + builder.TotalFrames()
		return nil
	}
	var builder *batcher.ChannelBuilder
	for position := 0; position < len(asked.Blocks); {
		if builder == nil {
			out, err := batcher.NewChannelOut(terms, config)
			if err != nil {
				return nil, err
			}
			builder = batcher.NewChannelBuilderWithChannelOut(log.Root(), terms, config, 0, out)
		}
		var block types.Block
		if err := rlp.DecodeBytes(asked.Blocks[position], &block); err != nil {
			return nil, err
		}
		_, err := builder.AddBlock(batcher.ToSizedBlock(&block))
		var full *batcher.ChannelFullError
		switch {
		case errors.As(err, &full):
			if err := take(builder); err != nil {
				return nil, err
			}
			builder = nil
		case err != nil:
			return nil, err
		default:
			position++
		}
	}
	if builder != nil {
		if err := take(builder); err != nil {
			return nil, err
		}
	}
	return sizes, nil
}
