package invariants_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// toxic is what is wrong with the connections to one side. The streams are toxiproxy's:
// upstream is what the program sends, to either side, and downstream what it gets.
type toxic struct {
	side, stream string
	kind         string
	attributes   string
}

func (x toxic) String() string {
	return strings.Join([]string{x.side, x.stream, x.kind, x.attributes}, " ")
}

// poison puts a TCP proxy with the toxic x before its side of w, for all connections until
// the cure. The proxy knows nothing of HTTP: what it breaks, it breaks wherever the bytes
// happen to be. Each toxic gets a proxy of its own, because taking one out of a connection
// that broke can wait for ever: toxiproxy asks the toxic to stop while that hands on what
// nobody takes any more.
func poison(t *testing.T, w *world, x toxic) (cure func()) {
	t.Helper()
	host := map[string]*string{"up": &w.up.Host, "down": &w.down.Host}[x.side]
	well := *host
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), x.side, "127.0.0.1:0", well)
	text := fmt.Sprintf(`{"name":"it","type":%q,"stream":%q,"toxicity":1,"attributes":{%s}}`, x.kind, x.stream, x.attributes)
	if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	*host = proxy.Listen
	cure = sync.OnceFunc(func() {
		*host = well
		proxy.Stop()
	})
	t.Cleanup(cure)
	return cure
}

// Connections that are slow, or bring their bytes in pieces, or break while the rest of a
// blob can still be asked for, cost time and nothing else.
func TestBadConnectionsAreLivedWith(t *testing.T) {
	w := registryWorld(t)
	content := rich("new")
	if err := bring(w.upURL, "team/app", content); err != nil {
		t.Fatal(err)
	}
	bad := []toxic{{"up", "downstream", "limit_data", `"bytes":30000`}} // less than its largest layer
	for _, side := range []string{"up", "down"} {
		for _, stream := range []string{"upstream", "downstream"} {
			bad = append(bad,
				toxic{side, stream, "latency", `"latency":20,"jitter":15`},
				toxic{side, stream, "bandwidth", `"rate":200`},
				toxic{side, stream, "slow_close", `"delay":200`},
				toxic{side, stream, "slicer", `"average_size":700,"size_variation":300,"delay":50`},
			)
		}
	}
	for i, x := range bad {
		t.Run(x.String(), func(t *testing.T) {
			poison(t, w, x)
			repo := fmt.Sprintf("n%d/app", i)
			results, err := w.run(t.Context(), patient, []string{"team/app"}, []string{repo})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if r.Status != plan.Copied {
					t.Errorf("%s is %s: %s", r.Action.To, r.Status, r.Reason)
				}
			}
			if err := w.complete(repo, content); err != nil {
				t.Error(err)
			}
		})
	}
}

// Connections that break or stall wherever they are leave every tag whole or absent, and
// nothing is called done that is not. Once they are well, one run brings everything.
func TestBrokenConnectionsLeaveNothingBroken(t *testing.T) {
	w := registryWorld(t)
	content := rich("new")
	if err := bring(w.upURL, "team/app", content); err != nil {
		t.Fatal(err)
	}
	var broken []toxic
	for _, side := range []string{"up", "down"} {
		for _, stream := range []string{"upstream", "downstream"} {
			broken = append(broken,
				toxic{side, stream, "reset_peer", `"timeout":0`},
				toxic{side, stream, "reset_peer", `"timeout":15`},
				toxic{side, stream, "timeout", `"timeout":30`},
				toxic{side, stream, "timeout", `"timeout":0`}, // for ever
				toxic{side, stream, "limit_data", `"bytes":100`},
				toxic{side, stream, "limit_data", `"bytes":1500`},
				toxic{side, stream, "limit_data", `"bytes":12000`},
			)
		}
	}
	failed := 0
	for i, x := range broken {
		if i%3 != 0 && !faults.Full() {
			continue // each kind, side and stream comes in the others
		}
		t.Run(x.String(), func(t *testing.T) {
			repo := fmt.Sprintf("n%d/app", i)
			cure := poison(t, w, x)
			results, err := w.run(t.Context(), patience{stall: 300 * time.Millisecond}, []string{"team/app"}, []string{repo})
			cure()
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				is, err := w.holds(repo, r.Action.To.Tag)
				done := r.Status == plan.Copied
				want := content.tags[r.Action.To.Tag].Digest()
				switch {
				case err != nil, is != "" && is != want, done && is != want:
					t.Errorf("%s is %s, and there is %q: %v", r.Action.To, r.Status, is, err)
				case !done && r.Reason == "":
					t.Errorf("%s is %s, and nobody says why", r.Action.To, r.Status)
				case !done:
					failed++
				}
			}
			w.quiet()
			if _, err := w.run(t.Context(), patient, []string{"team/app"}, []string{repo}); err != nil {
				t.Fatal(err)
			}
			if err := w.complete(repo, content); err != nil {
				t.Error(err)
			}
		})
	}
	if failed == 0 {
		t.Error("nothing failed, so that nothing was proven")
	}
	faults.Covers(t, "I1", "I4")
}
