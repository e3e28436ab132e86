package main

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/privval"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

func publicKey(key []byte) ed25519.PubKey { return ed25519.PubKey(key) }

// The signer that signerOpen opened.
var signer *privval.FilePV
var keyFile, stateFile string

// signerOpen makes a file signer in a directory from a seed, or loads the one that is there.
func signerOpen(line []byte) (any, error) {
	var asked struct {
		Directory string `json:"directory"`
		Secret    string `json:"secret"`
	}
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(asked.Secret)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(seed)
	if err != nil {
		return nil, err
	}
	keyFile, stateFile = filepath.Join(asked.Directory, "key.json"), filepath.Join(asked.Directory, "state.json")
	if _, err := os.Stat(keyFile); err == nil {
		signer = privval.LoadFilePV(keyFile, stateFile)
	} else {
		signer = privval.NewFilePV(key, keyFile, stateFile)
		signer.Save()
	}
	return told(signer.Key.PubKey.Bytes())
}

type signed struct {
	Refused   string `json:"refused,omitempty"`
	SignBytes string `json:"sign_bytes"`
	Signature string `json:"signature"`
}

// signerOrders gives orders to the signer one after the other. `reload` reads key and state from the disk first, as a
// process that was killed and started again does.
func signerOrders(line []byte) (any, error) {
	var asked struct {
		Orders []message `json:"orders"`
	}
	if err := cmtjson.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	if signer == nil {
		return nil, errors.New("signer_open comes first")
	}
	results := make([]signed, 0, len(asked.Orders))
	for at := range asked.Orders {
		if asked.Orders[at].Reload {
			signer = privval.LoadFilePV(keyFile, stateFile)
		}
		results = append(results, obey(&asked.Orders[at]))
	}
	return results, nil
}

func obey(order *message) signed {
	if cmtproto.SignedMsgType(order.Type) == cmtproto.ProposalType {
		proposal := order.proposal()
		if err := signer.SignProposal(order.ChainID, proposal); err != nil {
			return signed{Refused: err.Error()}
		}
		return signed{"", hex.EncodeToString(types.ProposalSignBytes(order.ChainID, proposal)), hex.EncodeToString(proposal.Signature)}
	}
	vote := order.vote()
	if err := signer.SignVote(order.ChainID, vote); err != nil {
		return signed{Refused: err.Error()}
	}
	return signed{"", hex.EncodeToString(types.VoteSignBytes(order.ChainID, vote)), hex.EncodeToString(vote.Signature)}
}
