package main

import (
	stdlib "crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/cometbft/cometbft/types"
)

func expand(seed []byte) []byte { return stdlib.NewKeyFromSeed(seed) }

type change struct {
	PublicKey string `json:"public_key"`
	Power     int64  `json:"power"`
}

type step struct {
	Increment int32    `json:"increment"`
	Update    []change `json:"update"`
}

type standing struct {
	Address  string `json:"address"`
	Power    int64  `json:"power"`
	Priority int64  `json:"priority"`
}

type rotation struct {
	Refused    string     `json:"refused,omitempty"`
	Proposer   string     `json:"proposer"`
	Validators []standing `json:"validators"`
}

func standingOf(set *types.ValidatorSet, refused error) rotation {
	found := rotation{Proposer: hex.EncodeToString(set.GetProposer().Address)}
	if refused != nil {
		found.Refused = refused.Error()
	}
	for _, one := range set.Validators {
		found.Validators = append(found.Validators, standing{
			hex.EncodeToString(one.Address), one.VotingPower, one.ProposerPriority,
		})
	}
	return found
}

func changesOf(listed []change) ([]*types.Validator, error) {
	changes := make([]*types.Validator, 0, len(listed))
	for _, one := range listed {
		key, err := hex.DecodeString(one.PublicKey)
		if err != nil {
			return nil, err
		}
		changes = append(changes, types.NewValidator(publicKey(key), one.Power))
	}
	return changes, nil
}

// priorities makes a validator set and takes steps on a copy, as the consensus engine does: a step that is refused
// leaves the set as it was. The first standing is that of the new set, then one per step.
func priorities(line []byte) (any, error) {
	var asked struct {
		Validators []change `json:"validators"`
		Steps      []step   `json:"steps"`
	}
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	initial, err := changesOf(asked.Validators)
	if err != nil {
		return nil, err
	}
	set := types.NewValidatorSet(initial)
	standings := []rotation{standingOf(set, nil)}
	for _, one := range asked.Steps {
		next, refused := set.Copy(), error(nil)
		if len(one.Update) > 0 {
			changes, err := changesOf(one.Update)
			if err != nil {
				return nil, err
			}
			refused = next.UpdateWithChangeSet(changes)
		}
		if refused == nil {
			if one.Increment > 0 {
				next.IncrementProposerPriority(one.Increment)
			}
			set = next
		}
		standings = append(standings, standingOf(set, refused))
	}
	if len(standings) != len(asked.Steps)+1 {
		return nil, fmt.Errorf("lost a step")
	}
	return standings, nil
}
