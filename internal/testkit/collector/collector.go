// Package collector is an OpenTelemetry collector for tests: it takes traces over HTTP, as
// protobuf, and refuses what a real one would.
package collector

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as it arrived.
type Span struct {
	Trace, ID, Parent string // in hex; Parent is "" for a root
	Name, Scope       string
	Kind              string // "client", "internal"
	Begin, End        uint64 // in nanoseconds
	Attributes        map[string]string
	Resource          map[string]string
	Events            []string
	Error             string // "" where the span is no error
}

// Collector keeps all spans that it was sent. It is safe for concurrent use.
type Collector struct {
	URL string // of the server; traces go below it

	mu      sync.Mutex
	spans   []Span
	refuse  int // a status, 0 to take everything
	asked   int
	headers http.Header
}

// Start starts a collector that lives as long as the test.
func Start(tb testing.TB) *Collector {
	tb.Helper()
	c := &Collector{}
	server := httptest.NewServer(http.HandlerFunc(c.serve))
	tb.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	c.URL = server.URL
	return c
}

// Refuse answers everything with a status from now on; 0 takes everything again.
func (c *Collector) Refuse(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = status
}

// Asked returns how many requests there were, and the header of the last.
func (c *Collector) Asked() (int, http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, c.headers
}

func (c *Collector) serve(w http.ResponseWriter, r *http.Request) {
	spans, err := read(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	c.headers = r.Header.Clone()
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case c.refuse != 0:
		w.WriteHeader(c.refuse)
	default:
		c.spans = append(c.spans, spans...)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}
}

// read reads a request as the protocol has it.
// https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
func read(r *http.Request) ([]Span, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, fmt.Errorf("%s %s of %q", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		plain, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		body = plain
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var sent collectortrace.ExportTraceServiceRequest
	if err := proto.Unmarshal(data, &sent); err != nil {
		return nil, err
	}
	var spans []Span
	for _, of := range sent.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				spans = append(spans, decoded(s, scope.GetScope().GetName(), attributes(of.GetResource().GetAttributes())))
			}
		}
	}
	return spans, nil
}

func decoded(s *trace.Span, scope string, resource map[string]string) Span {
	span := Span{
		Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Name: s.GetName(), Scope: scope, Kind: strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_")),
		Begin: s.GetStartTimeUnixNano(), End: s.GetEndTimeUnixNano(), Attributes: attributes(s.GetAttributes()), Resource: resource,
	}
	for _, e := range s.GetEvents() {
		span.Events = append(span.Events, e.GetName())
	}
	if s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR {
		span.Error = "error: " + s.GetStatus().GetMessage()
	}
	return span
}

func attributes(all []*common.KeyValue) map[string]string {
	plain := map[string]string{}
	for _, a := range all {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			plain[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			plain[a.GetKey()] = fmt.Sprint(v.IntValue)
		default:
			plain[a.GetKey()] = a.GetValue().String()
		}
	}
	return plain
}

// Spans returns what has arrived, in the order in which it began.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.spans)
	slices.SortStableFunc(all, func(a, b Span) int { return int(int64(a.Begin) - int64(b.Begin)) }) //nolint:gosec // times of one test
	return all
}

// Named returns the spans of a name.
func (c *Collector) Named(name string) []Span {
	return slices.DeleteFunc(c.Spans(), func(s Span) bool { return s.Name != name })
}

// Path says where a span is: the names from its root to itself, separated by " > ". It is
// an error where a span has a parent that has not arrived, is of another trace, or has not
// the span within its time.
func (c *Collector) Path(s Span) (string, error) {
	if s.Parent == "" {
		return s.Name, nil
	}
	for _, up := range c.Spans() {
		if up.ID != s.Parent {
			continue
		}
		if up.Trace != s.Trace || s.Begin < up.Begin || s.End > up.End {
			return "", fmt.Errorf("%s is not within %s", s.Name, up.Name)
		}
		path, err := c.Path(up)
		return path + " > " + s.Name, err
	}
	return "", fmt.Errorf("the parent of %s is missing", s.Name)
}
