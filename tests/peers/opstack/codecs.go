package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

const rlpBytesMax = 100_000_000 // MAX_RLP_BYTES_PER_CHANNEL since Fjord

type data struct {
	Data hexutil.Bytes `json:"data"`
}

type frame struct {
	ID     hexutil.Bytes `json:"id"`
	Number uint16        `json:"number"`
	Data   hexutil.Bytes `json:"data"`
	Last   bool          `json:"last"`
}

func framesOf(line []byte) (any, error) {
	var asked data
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	found, err := derive.ParseFrames(asked.Data)
	if err != nil {
		return nil, err
	}
	told := []frame{}
	for _, one := range found {
		told = append(told, frame{ID: one.ID[:], Number: one.FrameNumber, Data: one.Data, Last: one.IsLast})
	}
	return told, nil
}

// Batches of a channel in their own encoding, and why reading ended (empty at the end of the stream).
func channelOf(line []byte) (any, error) {
	var asked data
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	next, err := derive.BatchReader(bytes.NewBuffer(asked.Data), rlpBytesMax, true)
	if err != nil {
		return nil, err
	}
	batches := []hexutil.Bytes{}
	for {
		batch, err := next()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return map[string]any{"batches": batches, "ended": ""}, nil
		}
		if err != nil {
			return map[string]any{"batches": batches, "ended": err.Error()}, nil
		}
		encoded, err := batch.MarshalBinary()
		if err != nil {
			return nil, err
		}
		batches = append(batches, encoded)
	}
}

func compressedSize(line []byte) (any, error) {
	var asked struct {
		Data      hexutil.Bytes          `json:"data"`
		Algorithm derive.CompressionAlgo `json:"algorithm"`
	}
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	compressor, err := derive.NewChannelCompressor(asked.Algorithm)
	if err != nil {
		return nil, err
	}
	if _, err := compressor.Write(asked.Data); err != nil {
		return nil, err
	}
	if err := compressor.Close(); err != nil {
		return nil, err
	}
	return compressor.Len(), nil
}

type singular struct {
	ParentHash   common.Hash     `json:"parent_hash"`
	EpochNumber  uint64          `json:"epoch_number"`
	EpochHash    common.Hash     `json:"epoch_hash"`
	Timestamp    uint64          `json:"timestamp"`
	Transactions []hexutil.Bytes `json:"transactions"`
}

func (one singular) batch() *derive.SingularBatch {
	return &derive.SingularBatch{
		ParentHash:   one.ParentHash,
		EpochNum:     rollup.Epoch(one.EpochNumber),
		EpochHash:    one.EpochHash,
		Timestamp:    one.Timestamp,
		Transactions: one.Transactions,
	}
}

func encodeSingular(line []byte) (any, error) {
	var asked struct {
		Batch singular `json:"batch"`
	}
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	encoded, err := derive.NewBatchData(asked.Batch.batch()).MarshalBinary()
	return hexutil.Bytes(encoded), err
}

func encodeSpan(line []byte) (any, error) {
	var asked struct {
		Batches        []singular `json:"batches"`
		SequenceNumber uint64     `json:"sequence_number"`
		GenesisTime    uint64     `json:"genesis_time"`
		ChainID        uint64     `json:"chain_id"`
	}
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	span := derive.NewSpanBatch(asked.GenesisTime, new(big.Int).SetUint64(asked.ChainID))
	for _, one := range asked.Batches {
		if err := span.AppendSingularBatch(one.batch(), asked.SequenceNumber); err != nil {
			return nil, err
		}
	}
	raw, err := span.ToRawSpanBatch()
	if err != nil {
		return nil, err
	}
	encoded, err := derive.NewBatchData(raw).MarshalBinary()
	return hexutil.Bytes(encoded), err
}

func decodeSpan(line []byte) (any, error) {
	var asked struct {
		Data        hexutil.Bytes `json:"data"`
		GenesisTime uint64        `json:"genesis_time"`
		BlockTime   uint64        `json:"block_time"`
		ChainID     uint64        `json:"chain_id"`
	}
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	var batch derive.BatchData
	if err := batch.UnmarshalBinary(asked.Data); err != nil {
		return nil, err
	}
	chainID := new(big.Int).SetUint64(asked.ChainID)
	span, err := derive.DeriveSpanBatch(&batch, asked.BlockTime, asked.GenesisTime, chainID)
	if err != nil {
		return nil, err
	}
	blocks := []singular{}
	for _, one := range span.Batches {
		blocks = append(blocks, singular{
			EpochNumber: uint64(one.EpochNum), Timestamp: one.Timestamp, Transactions: one.Transactions,
		})
	}
	return map[string]any{
		"parent_check": hexutil.Bytes(span.ParentCheck[:]),
		"origin_check": hexutil.Bytes(span.L1OriginCheck[:]),
		"blocks":       blocks,
	}, nil
}

func encodeBlob(line []byte) (any, error) {
	var asked data
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	var blob eth.Blob
	if err := blob.FromData(eth.Data(asked.Data)); err != nil {
		return nil, err
	}
	return hexutil.Bytes(blob[:]), nil
}

func decodeBlob(line []byte) (any, error) {
	var asked data
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	var blob eth.Blob
	if len(asked.Data) != len(blob) {
		return nil, errors.New("not the size of a blob")
	}
	copy(blob[:], asked.Data)
	found, err := blob.ToData()
	return hexutil.Bytes(found), err
}
