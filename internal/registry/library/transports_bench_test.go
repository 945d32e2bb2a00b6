package library_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/library"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// The workload of BenchmarkTransports: tags of two platforms and a few small layers
// each, since on small blobs the round trips show.
const (
	benchRepositories = 10
	benchTags         = 4
	benchLayers       = 4
	benchLatency      = 20 * time.Millisecond // added to every request on both sides
)

// BenchmarkTransports copies the same images cold through both transports, between two
// real registries on loopback, with latency added to every request. It is where the
// figures of docs/adr/0001 come from. Compare the two rows of one run, not rows of
// different runs.
func BenchmarkTransports(b *testing.B) {
	source := startCounted(b)
	for r := range benchRepositories {
		for t := range benchTags {
			pushBenchImage(b, source, r, t)
		}
	}
	b.Run("native", func(b *testing.B) {
		benchmarkCopies(b, source, func(c *transport.Client) registry.Target { return c })
	})
	b.Run("library", func(b *testing.B) {
		benchmarkCopies(b, source, func(c *transport.Client) registry.Target {
			t := library.New(c, library.Options{Settings: loopback})
			b.Cleanup(func() { _ = t.Close() })
			return t
		})
	})
}

func benchmarkCopies(b *testing.B, source *counted, through func(*transport.Client) registry.Target) {
	b.Helper()
	for b.Loop() {
		b.StopTimer()
		destination := startCounted(b)
		source.reset()
		from, to := transport.New(transport.Options{}), transport.New(transport.Options{})
		places := sides{through(from), through(to)}
		p := benchPlan(b, source, destination)
		b.StartTimer()

		copier := copy.New(places, copy.NewLibrary(64), copy.Options{})
		for _, result := range copier.Run(b.Context(), p) {
			if result.Status != plan.Copied {
				b.Fatalf("%s: %s %v", result.Action.To, result.Status, result.Err)
			}
		}

		b.StopTimer()
		_ = copier.Close()
		_, _ = from.Close(), to.Close()
		b.ReportMetric(float64(source.requests.Load()), "upstream-requests")
		b.ReportMetric(float64(destination.requests.Load()), "destination-requests")
		b.ReportMetric(float64(source.connections.Load()+destination.connections.Load()), "connections")
		b.StartTimer()
	}
}

type sides struct{ from, to registry.Target }

func (s sides) Source(plan.Action) registry.Source { return s.from }
func (s sides) Target(plan.Action) registry.Target { return s.to }

// benchPlan copies every tag of the source.
func benchPlan(b *testing.B, source, destination *counted) plan.Plan {
	b.Helper()
	var wanted []plan.Wanted
	for r := range benchRepositories {
		for t := range benchTags {
			path := fmt.Sprintf("library/app-%d", r)
			m := &discover.Mirror{
				Upstream: ref.Repository{Host: source.host, Path: path},
				Target:   ref.Repository{Host: destination.host, Path: path},
			}
			tag := fmt.Sprintf("1.%d", t)
			wanted = append(wanted, plan.Wanted{Mirror: m, Tag: tag, Source: tag, Upstream: benchImage(r, t).Digest()})
		}
	}
	return plan.Build([][]plan.Wanted{wanted}, nil, nil)
}

func benchImage(repository, tag int) imagetest.Node {
	var images []imagetest.Node
	for _, arch := range []string{"amd64", "arm64"} {
		var layers []imagetest.Blob
		for l := range benchLayers {
			layers = append(layers, imagetest.Layer(fmt.Sprint(repository, tag, arch, l), 4<<10))
		}
		images = append(images, imagetest.Image(ref.Platform{OS: "linux", Architecture: arch}, layers...))
	}
	return imagetest.Index(images...)
}

func pushBenchImage(b *testing.B, to *counted, repository, tag int) {
	b.Helper()
	_, err := imagetest.Push(b.Context(), nil, to.direct, fmt.Sprintf("library/app-%d", repository), fmt.Sprintf("1.%d", tag), benchImage(repository, tag))
	if err != nil {
		b.Fatal(err)
	}
}

// counted is a registry with latency that counts what reaches it.
type counted struct {
	host, direct          string // with latency, and without
	requests, connections atomic.Int64
}

func startCounted(b *testing.B) *counted {
	b.Helper()
	behind := ecrlocaltest.StartRegistry(b)
	c := &counted{direct: behind.URL}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		time.Sleep(benchLatency)
		behind.ServeHTTP(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			c.connections.Add(1)
		}
	}
	server.Start()
	b.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	c.host = strings.TrimPrefix(server.URL, "http://")
	return c
}

func (c *counted) reset() {
	c.requests.Store(0)
	c.connections.Store(0)
}
