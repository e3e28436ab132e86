package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/params"

	altda "github.com/ethereum-optimism/optimism/op-alt-da"
	"github.com/ethereum-optimism/optimism/op-node/metrics"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-node/rollup/derive"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

const stepsMax = 1_000_000

// An invented L1 block: what the batcher posted in it, and the logs of its one transaction.
type l1Block struct {
	Number       uint64          `json:"number"`
	Hash         common.Hash     `json:"hash"`
	ParentHash   common.Hash     `json:"parent_hash"`
	Timestamp    uint64          `json:"timestamp"`
	BaseFee      uint64          `json:"base_fee"`
	PrevRandao   common.Hash     `json:"prev_randao"`
	BeaconRoot   common.Hash     `json:"beacon_root"`
	Data         []hexutil.Bytes `json:"data"`
	Stranger     []hexutil.Bytes `json:"stranger"`
	Logs         []logEntry      `json:"logs"`
	transactions types.Transactions
}

type logEntry struct {
	Address common.Address `json:"address"`
	Topics  []common.Hash  `json:"topics"`
	Data    hexutil.Bytes  `json:"data"`
}

type derivation struct {
	Rollup json.RawMessage `json:"rollup"`
	Keys   []hexutil.Bytes `json:"keys"` // of the batchers there may be, then of a stranger
	Blocks []*l1Block      `json:"blocks"`
	Bad    []hexutil.Bytes `json:"bad"` // transactions that cannot be applied
	Max    int             `json:"max"`
}

type derived struct {
	Timestamp    uint64          `json:"timestamp"`
	Hash         common.Hash     `json:"hash"`
	Transactions []hexutil.Bytes `json:"transactions"`
	GasLimit     uint64          `json:"gas_limit"`
	DerivedFrom  uint64          `json:"derived_from"`
	DepositsOnly bool            `json:"deposits_only"`
}

// The L1 and the L2 of a derivation. Blocks of L2 are not executed: their hash is that of their transactions.
type world struct {
	derive.AltDAInputFetcher
	config   *rollup.Config
	byHash   map[common.Hash]*l1Block
	byNumber map[uint64]*l1Block
	payloads map[common.Hash]*eth.ExecutionPayloadEnvelope
	refs     []eth.L2BlockRef
}

func (w *world) info(block *l1Block) eth.BlockInfo {
	zero := uint64(0)
	return eth.HeaderBlockInfoTrusted(block.Hash, &types.Header{
		ParentHash: block.ParentHash, Number: new(big.Int).SetUint64(block.Number), Time: block.Timestamp,
		BaseFee: new(big.Int).SetUint64(block.BaseFee), MixDigest: block.PrevRandao, ExcessBlobGas: &zero,
		ParentBeaconRoot: &block.BeaconRoot, Difficulty: new(big.Int),
	})
}

func (w *world) found(block *l1Block) (eth.BlockInfo, error) {
	if block == nil {
		return nil, ethereum.NotFound
	}
	return w.info(block), nil
}

func (w *world) L1BlockRefByLabel(context.Context, eth.BlockLabel) (eth.L1BlockRef, error) {
	return eth.L1BlockRef{}, errors.New("no labels here")
}

func (w *world) L1BlockRefByNumber(_ context.Context, number uint64) (eth.L1BlockRef, error) {
	info, err := w.found(w.byNumber[number])
	if err != nil {
		return eth.L1BlockRef{}, err
	}
	return eth.InfoToL1BlockRef(info), nil
}

func (w *world) L1BlockRefByHash(_ context.Context, hash common.Hash) (eth.L1BlockRef, error) {
	info, err := w.found(w.byHash[hash])
	if err != nil {
		return eth.L1BlockRef{}, err
	}
	return eth.InfoToL1BlockRef(info), nil
}

func (w *world) InfoByHash(_ context.Context, hash common.Hash) (eth.BlockInfo, error) {
	return w.found(w.byHash[hash])
}

func (w *world) InfoAndTxsByHash(_ context.Context, hash common.Hash) (eth.BlockInfo, types.Transactions, error) {
	info, err := w.found(w.byHash[hash])
	if err != nil {
		return nil, nil, err
	}
	return info, w.byHash[hash].transactions, nil
}

func (w *world) FetchReceipts(_ context.Context, hash common.Hash) (eth.BlockInfo, types.Receipts, error) {
	block := w.byHash[hash]
	info, err := w.found(block)
	if err != nil {
		return nil, nil, err
	}
	receipt := &types.Receipt{Status: types.ReceiptStatusSuccessful}
	for index, one := range block.Logs {
		receipt.Logs = append(receipt.Logs, &types.Log{
			Address: one.Address, Topics: one.Topics, Data: one.Data, BlockHash: hash, Index: uint(index),
		})
	}
	return info, types.Receipts{receipt}, nil
}

func (w *world) GetBlobsByHash(context.Context, uint64, []common.Hash) ([]*eth.Blob, error) {
	return nil, ethereum.NotFound
}

func (w *world) PayloadByHash(_ context.Context, hash common.Hash) (*eth.ExecutionPayloadEnvelope, error) {
	if payload, known := w.payloads[hash]; known {
		return payload, nil
	}
	return nil, ethereum.NotFound
}

func (w *world) PayloadByNumber(ctx context.Context, number uint64) (*eth.ExecutionPayloadEnvelope, error) {
	ref, err := w.L2BlockRefByNumber(ctx, number)
	if err != nil {
		return nil, err
	}
	return w.PayloadByHash(ctx, ref.Hash)
}

func (w *world) L2BlockRefByLabel(context.Context, eth.BlockLabel) (eth.L2BlockRef, error) {
	return w.refs[len(w.refs)-1], nil
}

func (w *world) L2BlockRefByHash(_ context.Context, hash common.Hash) (eth.L2BlockRef, error) {
	for _, ref := range w.refs {
		if ref.Hash == hash {
			return ref, nil
		}
	}
	return eth.L2BlockRef{}, ethereum.NotFound
}

func (w *world) L2BlockRefByNumber(_ context.Context, number uint64) (eth.L2BlockRef, error) {
	if number >= uint64(len(w.refs)) {
		return eth.L2BlockRef{}, ethereum.NotFound
	}
	return w.refs[number], nil
}

func (w *world) SystemConfigByL2Hash(ctx context.Context, hash common.Hash) (eth.SystemConfig, error) {
	if hash == w.config.Genesis.L2.Hash {
		return w.config.Genesis.SystemConfig, nil
	}
	payload, err := w.PayloadByHash(ctx, hash)
	if err != nil {
		return eth.SystemConfig{}, err
	}
	return derive.PayloadToSystemConfig(w.config, payload.ExecutionPayload)
}

// Alternative data availability is off: the stage is there and does nothing.
func (w *world) AdvanceL1Origin(context.Context, altda.L1Fetcher, eth.BlockID) error { return nil }

func (w *world) Reset(context.Context, eth.L1BlockRef, eth.SystemConfig) error { return io.EOF }

func (w *world) add(parent eth.L2BlockRef, attributes *eth.PayloadAttributes) (*derived, error) {
	transactions := make([]hexutil.Bytes, len(attributes.Transactions))
	copy(transactions, attributes.Transactions)
	content := append([]byte{}, parent.Hash[:]...)
	content = binary.BigEndian.AppendUint64(content, uint64(attributes.Timestamp))
	for _, one := range transactions {
		content = append(content, crypto.Keccak256(one)...)
	}
	hash := crypto.Keccak256Hash(content)
	extra := append([]byte{0}, attributes.EIP1559Params[:]...)
	if attributes.MinBaseFee != nil {
		extra[0] = 1
		extra = binary.BigEndian.AppendUint64(extra, *attributes.MinBaseFee)
	}
	payload := &eth.ExecutionPayload{
		ParentHash: parent.Hash, BlockNumber: eth.Uint64Quantity(parent.Number + 1), Timestamp: attributes.Timestamp,
		GasLimit: *attributes.GasLimit, ExtraData: extra, BlockHash: hash, Transactions: transactions,
	}
	ref, err := derive.PayloadToBlockRef(w.config, payload)
	if err != nil {
		return nil, err
	}
	w.payloads[hash] = &eth.ExecutionPayloadEnvelope{ExecutionPayload: payload}
	w.refs = append(w.refs, ref)
	return &derived{
		Timestamp: uint64(attributes.Timestamp), Hash: hash, Transactions: transactions,
		GasLimit: uint64(*attributes.GasLimit),
	}, nil
}

func newWorld(asked *derivation) (*world, error) {
	config := new(rollup.Config)
	if err := json.Unmarshal(asked.Rollup, config); err != nil {
		return nil, err
	}
	w := &world{
		config: config, byHash: map[common.Hash]*l1Block{}, byNumber: map[uint64]*l1Block{},
		payloads: map[common.Hash]*eth.ExecutionPayloadEnvelope{},
	}
	w.refs = []eth.L2BlockRef{{
		Hash: config.Genesis.L2.Hash, Number: config.Genesis.L2.Number, Time: config.Genesis.L2Time,
		L1Origin: config.Genesis.L1,
	}}
	nonce := uint64(0)
	for _, block := range asked.Blocks {
		w.byHash[block.Hash], w.byNumber[block.Number] = block, block
		for at, posted := range [][]hexutil.Bytes{block.Data, block.Stranger} {
			key, err := crypto.ToECDSA(asked.Keys[at])
			if err != nil {
				return nil, err
			}
			for _, one := range posted {
				transaction, err := types.SignNewTx(key, config.L1Signer(), &types.DynamicFeeTx{
					ChainID: config.L1ChainID, Nonce: nonce, To: &config.BatchInboxAddress, Data: one,
				})
				if err != nil {
					return nil, err
				}
				nonce++
				block.transactions = append(block.transactions, transaction)
			}
		}
	}
	return w, nil
}

func deriveChain(line []byte) (any, error) {
	var asked derivation
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	w, err := newWorld(&asked)
	if err != nil {
		return nil, err
	}
	bad := map[string]bool{}
	for _, one := range asked.Bad {
		bad[string(one)] = true
	}
	silent := log.NewLogger(log.DiscardHandler())
	pipeline := derive.NewDerivationPipeline(
		silent, w.config, nil, w, w, w, w, metrics.NoopMetrics, false, &params.ChainConfig{
			ChainID: w.config.L1ChainID, LondonBlock: new(big.Int), CancunTime: new(uint64),
			BlobScheduleConfig: params.DefaultBlobSchedule,
		})
	pipeline.Reset()
	pipeline.ConfirmEngineReset()
	blocks := []*derived{}
	for step := 0; step < stepsMax && len(blocks) < asked.Max; step++ {
		parent := w.refs[len(w.refs)-1]
		found, err := pipeline.Step(context.Background(), parent)
		if errors.Is(err, io.EOF) {
			return blocks, nil
		}
		if errors.Is(err, derive.NotEnoughData) || (err == nil && found == nil) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", step, err)
		}
		replaced := false
		for _, one := range found.Attributes.Transactions {
			replaced = replaced || bad[string(one)]
		}
		derivedFrom := found.DerivedFrom
		if replaced {
			if found, err = pipeline.DepositsOnlyAttributes(parent.ID(), derivedFrom); err != nil {
				return nil, err
			}
		}
		block, err := w.add(parent, found.Attributes)
		if err != nil {
			return nil, err
		}
		block.DerivedFrom, block.DepositsOnly = derivedFrom.Number, replaced
		blocks = append(blocks, block)
	}
	return blocks, nil
}
