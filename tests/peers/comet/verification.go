package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmtmath "github.com/cometbft/cometbft/libs/math"
	"github.com/cometbft/cometbft/light"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

// validatorsOf keeps the order that was given.
func validatorsOf(listed []*types.Validator) *types.ValidatorSet {
	for _, one := range listed {
		one.Address = one.PubKey.Address()
	}
	if set, err := types.ValidatorSetFromExistingValidators(listed); err == nil {
		return set
	}
	return &types.ValidatorSet{Validators: listed}
}

func told(data []byte) (any, error) { return hex.EncodeToString(data), nil }

func headerHash(line []byte) (any, error) {
	var asked struct {
		Header types.Header `json:"header"`
	}
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	return told(asked.Header.Hash())
}

func validatorsHash(line []byte) (any, error) {
	var asked struct {
		Validators []*types.Validator `json:"validators"`
	}
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	return told(validatorsOf(asked.Validators).Hash())
}

func commitHash(line []byte) (any, error) {
	var asked struct {
		Commit types.Commit `json:"commit"`
	}
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	return told(asked.Commit.Hash())
}

type message struct {
	ChainID   string        `json:"chain_id"`
	Type      int32         `json:"type"`
	Height    int64         `json:"height"`
	Round     int32         `json:"round"`
	PolRound  int32         `json:"pol_round"`
	BlockID   types.BlockID `json:"block_id"`
	Timestamp time.Time     `json:"timestamp"`
	Reload    bool          `json:"reload"`
}

func (asked *message) vote() *cmtproto.Vote {
	return &cmtproto.Vote{
		Type: cmtproto.SignedMsgType(asked.Type), Height: asked.Height, Round: asked.Round,
		BlockID: asked.BlockID.ToProto(), Timestamp: asked.Timestamp,
	}
}

func (asked *message) proposal() *cmtproto.Proposal {
	return &cmtproto.Proposal{
		Type: cmtproto.ProposalType, Height: asked.Height, Round: asked.Round, PolRound: asked.PolRound,
		BlockID: asked.BlockID.ToProto(), Timestamp: asked.Timestamp,
	}
}

func voteSignBytes(line []byte) (any, error) {
	var asked message
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	return told(types.VoteSignBytes(asked.ChainID, asked.vote()))
}

func proposalSignBytes(line []byte) (any, error) {
	var asked message
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	return told(types.ProposalSignBytes(asked.ChainID, asked.proposal()))
}

// sign signs many messages; a secret is the 32-byte seed of RFC 8032.
func sign(line []byte) (any, error) {
	var asked struct {
		Secrets  []string `json:"secrets"`
		Messages []string `json:"messages"`
	}
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	if len(asked.Secrets) != len(asked.Messages) {
		return nil, errors.New("one secret per message")
	}
	type signed struct {
		PublicKey string `json:"public_key"`
		Signature string `json:"signature"`
	}
	results := make([]signed, 0, len(asked.Secrets))
	for at, secret := range asked.Secrets {
		seed, err := hex.DecodeString(secret)
		if err != nil {
			return nil, err
		}
		text, err := hex.DecodeString(asked.Messages[at])
		if err != nil {
			return nil, err
		}
		key, err := keyOf(seed)
		if err != nil {
			return nil, err
		}
		signature, err := key.Sign(text)
		if err != nil {
			return nil, err
		}
		results = append(results, signed{hex.EncodeToString(key.PubKey().Bytes()), hex.EncodeToString(signature)})
	}
	return results, nil
}

type commitQuestion struct {
	ChainID     string             `json:"chain_id"`
	Validators  []*types.Validator `json:"validators"`
	BlockID     types.BlockID      `json:"block_id"`
	Height      int64              `json:"height"`
	Commit      types.Commit       `json:"commit"`
	Numerator   uint64             `json:"numerator"`
	Denominator uint64             `json:"denominator"`
}

func verifyLight(line []byte) (any, error) {
	var asked commitQuestion
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	set := validatorsOf(asked.Validators)
	return nil, set.VerifyCommitLight(asked.ChainID, asked.BlockID, asked.Height, &asked.Commit)
}

func verifyTrusting(line []byte) (any, error) {
	var asked commitQuestion
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	level := cmtmath.Fraction{Numerator: asked.Numerator, Denominator: asked.Denominator}
	return nil, validatorsOf(asked.Validators).VerifyCommitLightTrusting(asked.ChainID, &asked.Commit, level)
}

type block struct {
	SignedHeader *types.SignedHeader `json:"signed_header"`
	Validators   []*types.Validator  `json:"validators"`
}

// verify asks light.Verify; the kind of its error comes first in the sentence.
func verify(line []byte) (any, error) {
	var asked struct {
		Trusted          block     `json:"trusted"`
		Untrusted        block     `json:"untrusted"`
		Now              time.Time `json:"now"`
		TrustingPeriodNs int64     `json:"trusting_period_ns"`
		DriftNs          int64     `json:"drift_ns"`
		Numerator        uint64    `json:"numerator"`
		Denominator      uint64    `json:"denominator"`
	}
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	level := cmtmath.Fraction{Numerator: asked.Numerator, Denominator: asked.Denominator}
	err := light.Verify(
		asked.Trusted.SignedHeader, validatorsOf(asked.Trusted.Validators),
		asked.Untrusted.SignedHeader, validatorsOf(asked.Untrusted.Validators),
		time.Duration(asked.TrustingPeriodNs), asked.Now, time.Duration(asked.DriftNs), level,
	)
	if err != nil {
		return nil, fmt.Errorf("%T: %w", err, err)
	}
	return nil, nil
}

func verifyBackwards(line []byte) (any, error) {
	var asked struct {
		Untrusted types.Header `json:"untrusted"`
		Trusted   types.Header `json:"trusted"`
	}
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	return nil, light.VerifyBackwards(&asked.Untrusted, &asked.Trusted)
}

func keyOf(seed []byte) (ed25519.PrivKey, error) {
	if len(seed) != 32 {
		return nil, fmt.Errorf("a secret has 32 bytes, not %d", len(seed))
	}
	return ed25519.PrivKey(expand(seed)), nil
}

// evidence makes the evidence of an attack as CometBFT's light client does (light/detector.go) and compares it with
// the one that is shown.
func evidence(line []byte) (any, error) {
	var asked struct {
		Common      block          `json:"common"`
		Conflicting block          `json:"conflicting"`
		Trusted     block          `json:"trusted"`
		Shown       types.Evidence `json:"shown"`
	}
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	conflicting := &types.LightBlock{
		SignedHeader: asked.Conflicting.SignedHeader, ValidatorSet: validatorsOf(asked.Conflicting.Validators),
	}
	made := &types.LightClientAttackEvidence{ConflictingBlock: conflicting}
	base := asked.Trusted
	if made.ConflictingHeaderIsInvalid(asked.Trusted.SignedHeader.Header) {
		base = asked.Common
	}
	made.CommonHeight = base.SignedHeader.Height
	made.Timestamp = base.SignedHeader.Time
	made.TotalVotingPower = validatorsOf(base.Validators).TotalVotingPower()
	made.ByzantineValidators = made.GetByzantineValidators(validatorsOf(asked.Common.Validators), asked.Trusted.SignedHeader)
	shown, ok := asked.Shown.(*types.LightClientAttackEvidence)
	if !ok {
		return nil, fmt.Errorf("shown is a %T", asked.Shown)
	}
	if err := shown.ValidateBasic(); err != nil {
		return nil, err
	}
	same := bytes.Equal(shown.Hash(), made.Hash()) && shown.Timestamp.Equal(made.Timestamp) &&
		shown.TotalVotingPower == made.TotalVotingPower && shown.CommonHeight == made.CommonHeight &&
		len(shown.ByzantineValidators) == len(made.ByzantineValidators)
	for at := 0; same && at < len(made.ByzantineValidators); at++ {
		same = bytes.Equal(shown.ByzantineValidators[at].Bytes(), made.ByzantineValidators[at].Bytes())
	}
	return map[string]any{"same": same, "made": made.String(), "shown": shown.String()}, nil
}

// verifyChain asks light.Verify of every block on top of the one before, and tells how long that took.
func verifyChain(line []byte) (any, error) {
	var asked struct {
		Blocks []block   `json:"blocks"`
		Now    time.Time `json:"now"`
	}
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	sets := make([]*types.ValidatorSet, len(asked.Blocks))
	for at := range asked.Blocks {
		sets[at] = validatorsOf(asked.Blocks[at].Validators)
	}
	began := time.Now()
	for at := 1; at < len(asked.Blocks); at++ {
		err := light.Verify(
			asked.Blocks[at-1].SignedHeader, sets[at-1], asked.Blocks[at].SignedHeader, sets[at],
			time.Hour*24*365, asked.Now, time.Minute, light.DefaultTrustLevel,
		)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", at, err)
		}
	}
	return time.Since(began).Nanoseconds(), nil
}
