// Answers questions about CometBFT with CometBFT's own code: hashes, sign bytes, commit and light-client verification,
// proposer priorities, and the file signer. One JSON object per line on standard input, one answer per line:
// {"ok": result} or {"error": sentence}. Bytes are hex; headers, commits and validators have CometBFT's own JSON form.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

type request struct {
	Op string `json:"op"`
}

var operations = map[string]func([]byte) (any, error){
	"header_hash":         headerHash,
	"validators_hash":     validatorsHash,
	"commit_hash":         commitHash,
	"vote_sign_bytes":     voteSignBytes,
	"proposal_sign_bytes": proposalSignBytes,
	"sign":                sign,
	"verify_light":        verifyLight,
	"verify_trusting":     verifyTrusting,
	"verify":              verify,
	"verify_backwards":    verifyBackwards,
	"verify_chain":        verifyChain,
	"evidence":            evidence,
	"priorities":          priorities,
	"signer_open":         signerOpen,
	"signer_orders":       signerOrders,
}

func answer(line []byte) (result any, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	operation, known := operations[asked.Op]
	if !known {
		return nil, fmt.Errorf("no operation %q", asked.Op)
	}
	return operation(line)
}

func main() {
	reader := bufio.NewReaderSize(os.Stdin, 1<<20)
	writer := bufio.NewWriter(os.Stdout)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return
		}
		result, refused := answer(line)
		told := map[string]any{"ok": result}
		if refused != nil {
			told = map[string]any{"error": refused.Error()}
		}
		encoded, err := json.Marshal(told)
		if err != nil {
			panic(err)
		}
		writer.Write(append(encoded, '\n'))
		writer.Flush()
	}
}
