package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/collector"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/tracing"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// environment makes vars all that is said of OpenTelemetry.
func environment(t *testing.T, vars ...string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}

func open(t *testing.T, log *zap.Logger) *tracing.Tracing {
	t.Helper()
	traces, err := tracing.Open(t.Context(), "1.2.3", log)
	if err != nil {
		t.Fatal(err)
	}
	return traces
}

// sent closes traces, so that everything has arrived.
func sent(t *testing.T, traces *tracing.Tracing) {
	t.Helper()
	if err := traces.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestOffUnlessAsked(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	for _, env := range [][]string{
		nil,
		{"OTEL_SERVICE_NAME=mirror"},
		{endpoint, "OTEL_SDK_DISABLED=true"},
		{endpoint, "OTEL_TRACES_EXPORTER=none"},
	} {
		environment(t, env...)
		traces := open(t, zap.NewNop())
		if traces != nil {
			t.Errorf("%v: on", env)
		}
		// Nobody is told, and nothing breaks.
		ctx, run := traces.Begin(t.Context(), "sync")
		if run.Join(ctx) != t.Context() {
			t.Error("another context")
		}
		run.Planned(plan.Plan{})
		if e := run.Events(copy.Events{}); e.Image != nil || e.Piece != nil || e.Repeated != nil {
			t.Error("somebody hears")
		}
		run.End(report.Report{}, nil)
		traces.Stamp(zap.NewNop())
		if traces.Last() != "" {
			t.Errorf("%q", traces.Last())
		}
		sent(t, traces)
	}
}

func TestWhatCannotBeMeant(t *testing.T) {
	for _, env := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318",
		"OTEL_EXPORTER_OTLP_ENDPOINT=ftp://collector",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://",
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json",
		"OTEL_TRACES_EXPORTER=zipkin",
	} {
		environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://user:hunter2@127.0.0.1:1", env)
		name, _, _ := strings.Cut(env, "=")
		traces, err := tracing.Open(t.Context(), "1.2.3", zap.NewNop())
		if traces != nil || err == nil || !strings.HasPrefix(err.Error(), name+" ") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, %v", env, traces, err)
		}
	}
}

var (
	mirrored = &discover.Mirror{
		Name: "web", Upstream: ref.Repository{Host: "quay.io", Path: "org/web"}, Target: ref.Repository{Host: "registry.test", Path: "web"},
	}
	still  = &discover.Mirror{Name: "still", Target: ref.Repository{Host: "registry.test", Path: "still"}}
	digest = ref.Digest("sha256:" + strings.Repeat("a", 64))
)

func action(verb plan.Verb) plan.Action {
	return plan.Action{Mirror: mirrored, Verb: verb, From: mirrored.Upstream.Tagged("1"), To: mirrored.Target.Tagged("1"), Want: digest}
}

// get is a request for what may be secret in its query and its user.
func get(ctx context.Context, t *testing.T, traces *tracing.Tracing, raw string) func(int, int64, error) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}
	ended := traces.Request(ctx, r, "quay.io", "blob_read")
	if len(r.Header) != 0 {
		t.Errorf("the request has got %v", r.Header)
	}
	return ended
}

// The whole of a run, as a collector sees it.
func TestRun(t *testing.T) {
	c := collector.Start(t)
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_EXPORTER_OTLP_HEADERS=api-key=secret",
		"OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment=test", "OTEL_SERVICE_NAME=mirrors")
	traces := open(t, zap.NewNop())
	get(t.Context(), t, traces, "https://quay.io/outside")(200, 0, nil)

	ctx, run := traces.Begin(t.Context(), "sync")
	looked := run.Look(ctx, mirrored)
	run.Look(ctx, still)
	get(looked, t, traces, "https://user:hunter2@quay.io:8443/v2/org/web/manifests/1?token=hunter2")(404, 0, nil)
	run.Planned(plan.Plan{Actions: []plan.Action{action(plan.Copy), {Mirror: still, Verb: plan.InSync}}})
	events := run.Events(copy.Events{})
	image, imageEnded := events.Image(run.Join(context.Background()), action(plan.Copy))
	blob, blobEnded := events.Piece(image, copy.Piece{Kind: copy.PieceBlob, To: mirrored.Target.Digested(digest), Digest: digest, Size: 7})
	get(blob, t, traces, "https://cdn.test/b?sig=hunter2")(0, 3, errors.New("GET https://cdn.test/b?sig=hunter2: reset\nby peer"))
	events.Repeated(blob, errors.New("reset"), time.Second)
	get(blob, t, traces, "https://cdn.test/b?sig=hunter2")(200, 7, nil)
	blobEnded(nil)
	imageEnded(plan.Result{Action: action(plan.Copy), Status: plan.HasFailed, Bytes: 7, Err: errors.New("the tag was refused")})
	get(ctx, t, traces, "https://quay.io/afterwards")(200, 0, nil)
	run.End(report.Report{Totals: report.Totals{Images: 2, Failed: 1}}, nil)
	sent(t, traces)

	var got []string
	for _, s := range c.Spans() {
		path, err := c.Path(s)
		if err != nil {
			t.Error(err)
		}
		if text := fmt.Sprint(s); strings.Contains(text, "hunter2") {
			t.Errorf("a secret in %s", text)
		}
		if s.Scope != tracing.Scope || s.Resource["service.name"] != "mirrors" || s.Resource["service.version"] != "1.2.3" || s.Resource["deployment.environment"] != "test" {
			t.Errorf("%s is of %s, %v", path, s.Scope, s.Resource)
		}
		a := s.Attributes
		got = append(got, fmt.Sprintf("%s: status=%s code=%s bytes=%s retries=%s %v %s", path, a["ecr_mirror_sync.status"], a["http.response.status_code"], a["ecr_mirror_sync.bytes"], a["ecr_mirror_sync.retries"], s.Events, s.Error))
	}
	want := []string{
		"run: status= code= bytes=0 retries= [] error: images have failed",
		"run > mirror: status= code= bytes= retries= [] ",
		"run > mirror: status= code= bytes= retries= [] ",
		"run > mirror > blob_read: status= code=404 bytes=0 retries= [] ",
		"run > mirror > image: status=failed code= bytes=7 retries=1 [] error: the tag was refused",
		"run > mirror > image > blob: status= code= bytes=7 retries=1 [retry] ",
		"run > mirror > image > blob > blob_read: status= code= bytes=3 retries= [] error: GET https://cdn.test/b reset\\nby peer",
		"run > mirror > image > blob > blob_read: status= code=200 bytes=7 retries= [] ",
		"run > blob_read: status= code=200 bytes=0 retries= [] ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	if _, header := c.Asked(); header.Get("Api-Key") != "secret" {
		t.Errorf("header %v", header)
	}
	requests := c.Named("blob_read")
	after, web := requests[len(requests)-1], c.Named("mirror")[0]
	if image := c.Named("image")[0]; web.End < image.End || web.End > after.Begin || c.Named("mirror")[1].End > image.Begin {
		t.Error("a mirror does not end with its last image")
	}
}

// Two runs are two traces, and lines say which one.
func TestStamp(t *testing.T) {
	c := collector.Start(t)
	environment(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+c.URL+"/v1/traces")
	traces := open(t, zap.NewNop())
	core, lines := observer.New(zapcore.InfoLevel)
	log := traces.Stamp(zap.New(core)).With(zap.String("host", "quay.io"))
	log.Info("before")
	for range 2 {
		_, run := traces.Begin(t.Context(), "daemon")
		log.Info("within")
		log.Debug("silent")
		run.End(report.Report{}, errors.New("no plan"))
	}
	log.Info("after")
	sent(t, traces)
	var ids []string
	for _, line := range lines.All() {
		id, _ := line.ContextMap()[tracing.LogField].(string)
		ids = append(ids, id)
		if line.ContextMap()["host"] != "quay.io" {
			t.Errorf("%v", line.ContextMap())
		}
	}
	runs := c.Named("run")
	if len(runs) != 2 || traces.Last() != runs[1].Trace || runs[0].Trace == runs[1].Trace || runs[0].Error != "error: no plan" {
		t.Fatalf("%v", runs)
	}
	if diff := cmp.Diff([]string{"", runs[0].Trace, runs[1].Trace, ""}, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
}

// A collector that takes nothing is told of once, and costs no run.
func TestALostCollector(t *testing.T) {
	c := collector.Start(t)
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_BSP_SCHEDULE_DELAY=5")
	core, lines := observer.New(zapcore.InfoLevel)
	traces := open(t, zap.New(core))
	c.Refuse(http.StatusForbidden)
	one := func(until int) {
		t.Helper()
		_, run := traces.Begin(t.Context(), "daemon")
		run.End(report.Report{}, nil)
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if n, _ := c.Asked(); n >= until {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("nothing was sent")
			}
		}
	}
	one(1)
	one(2)
	c.Refuse(0)
	one(3)
	sent(t, traces)
	var said []string
	for _, line := range lines.All() {
		said = append(said, line.Message)
	}
	if diff := cmp.Diff([]string{"traces are lost: the collector does not take them", "traces are taken again"}, said); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
}

func TestSampling(t *testing.T) {
	c := collector.Start(t)
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_TRACES_SAMPLER=always_off")
	traces := open(t, zap.NewNop())
	ctx, run := traces.Begin(t.Context(), "sync")
	get(run.Look(ctx, mirrored), t, traces, "https://quay.io/v2/")(200, 0, nil)
	run.End(report.Report{}, nil)
	sent(t, traces)
	if spans := c.Spans(); len(spans) != 0 {
		t.Errorf("%v", spans)
	}
}
