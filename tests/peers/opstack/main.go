// Answers questions about the OP Stack with op-node's own code: frames, channels, batches, and whole derivations. One JSON
// object per line on standard input, one answer per line: {"ok": result} or {"error": sentence}. Bytes are hex.
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
	"frames":          framesOf,
	"channel":         channelOf,
	"compressed_size": compressedSize,
	"encode_singular": encodeSingular,
	"encode_span":     encodeSpan,
	"decode_span":     decodeSpan,
	"encode_blob":     encodeBlob,
	"decode_blob":     decodeBlob,
	"derive":          deriveChain,
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
