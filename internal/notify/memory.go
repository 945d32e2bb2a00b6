package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Memory is what each receiver knows, by its name.
type Memory map[string]History

// State is what runs that end leave each other: a Memory for each command, since a run of
// sync knows nothing of what verify found.
type State map[string]Memory

// stateVersion names the form of the file.
const stateVersion = "ecr-mirror-sync.io/notify-state/v1"

type stateFile struct {
	APIVersion string `json:"apiVersion"`
	Commands   State  `json:"commands"`
}

// ParseState reads what Encode wrote; of nothing, an empty State.
func ParseState(data []byte) (State, error) {
	if len(data) == 0 {
		return State{}, nil
	}
	var f stateFile
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return nil, fmt.Errorf("not what receivers were told: %w", err)
	}
	if f.APIVersion != stateVersion || f.Commands == nil {
		return nil, errors.New("not what receivers were told: expected apiVersion " + stateVersion)
	}
	return f.Commands, nil
}

// Encode writes the state as ParseState reads it.
func (s State) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(stateFile{APIVersion: stateVersion, Commands: s}, "", "  ")
	return append(data, '\n'), err
}
