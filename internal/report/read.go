package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// Read reads a report that was written as JSON, so that it can be written in another
// format. What this version does not know is passed over: new fields may appear.
func Read(from io.Reader) (Report, error) {
	var r Report
	if err := json.NewDecoder(from).Decode(&r); err != nil {
		return Report{}, fmt.Errorf("reading a report: %w", err)
	}
	if r.APIVersion != APIVersion || !slices.Contains([]Kind{KindSync, KindPlan, KindList}, r.Kind) {
		return Report{}, fmt.Errorf("reading a report: it is a %q of %q, expected the JSON of a sync, copy or list of %q", r.Kind, r.APIVersion, APIVersion)
	}
	return r, nil
}

// UnmarshalJSON reads the list that MarshalJSON makes.
func (r *Rows) UnmarshalJSON(text []byte) error {
	var list []Row
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*r = Rows{count: len(list), row: func(i int) Row { return list[i] }}
	return nil
}
