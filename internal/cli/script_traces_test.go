package cli_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/collector"
)

// collector NAME starts an OpenTelemetry collector and puts its URL into the variable NAME.
func (s *stage) collector(ts *testscript.TestScript, _ bool, args []string) {
	s.traces = collector.Start(s.t)
	ts.Setenv(args[0], s.traces.URL)
}

// spans FILE writes a line for each span that has arrived: its path from the root, its
// attributes, its error. Every span has to be within its parent.
func (s *stage) spans(ts *testscript.TestScript, _ bool, args []string) {
	var b strings.Builder
	for _, span := range s.traces.Spans() {
		path, err := s.traces.Path(span)
		ts.Check(err)
		fmt.Fprintf(&b, "%s [%s] %s", path, span.Trace, span.Kind)
		for _, key := range slices.Sorted(maps.Keys(span.Attributes)) {
			fmt.Fprintf(&b, " %s=%s", strings.TrimPrefix(key, "ecr_mirror_sync."), span.Attributes[key])
		}
		for _, event := range span.Events {
			fmt.Fprintf(&b, " !%s", event)
		}
		fmt.Fprintf(&b, " %s\n", span.Error)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

var traceID = regexp.MustCompile(`"traceId": ?"([0-9a-f]{32})"`)

// same-trace LOG SPANS insists that every log line with a trace names one that has arrived,
// and that there is such a line.
func (s *stage) sameTrace(ts *testscript.TestScript, _ bool, args []string) {
	said := traceID.FindAllStringSubmatch(ts.ReadFile(args[0]), -1)
	if len(said) == 0 {
		ts.Fatalf("no line of %s is of a trace", args[0])
	}
	for _, id := range said {
		if !strings.Contains(ts.ReadFile(args[1]), "["+id[1]+"]") {
			ts.Fatalf("there is no trace %s", id[1])
		}
	}
}

// unheard insists that upstream was not told of a trace.
func (s *stage) unheard(ts *testscript.TestScript, _ bool, _ []string) {
	s.upstream.mu.Lock()
	defer s.upstream.mu.Unlock()
	if s.upstream.traced != 0 {
		ts.Fatalf("%d requests told upstream of their trace", s.upstream.traced)
	}
}
