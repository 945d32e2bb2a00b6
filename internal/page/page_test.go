package page_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/page"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) *time.Time { t := now.Add(-d); return &t }

// sample has a mirror of each state, and names that would like to be more than names.
func sample() status.Snapshot {
	next := now.Add(4 * time.Minute)
	s := status.Snapshot{
		Time: now, Started: now.Add(-30 * time.Hour), Phase: status.Waiting, PhaseSince: now.Add(-time.Minute), NextRun: &next,
		Config: status.Config{Files: []string{"mirrors.yaml"}, Loaded: now.Add(-time.Hour), Error: "mirrors.yaml:3:1: unknown key \"mirors\"", ErrorAt: before(time.Minute)},
		Totals: status.Totals{Mirrors: 6, Behind: 1, Failing: 1},
		Runs: []status.Run{
			{Number: 2, Started: now.Add(-5 * time.Minute), DurationMs: 61_500, Outcome: status.Partial, Mirrors: 5, Totals: report.Totals{Copied: 1, InSync: 40, Failed: 1, Bytes: 123_456_789}},
			{Number: 1, Started: now.Add(-10 * time.Minute), DurationMs: 900, Outcome: status.Failed, Error: "discovery: access denied"},
		},
	}
	add := func(name string, change func(*status.Mirror)) {
		m := status.Mirror{
			Name: name, Upstreams: []string{"docker.io/library/" + name}, Destinations: []string{"111122223333.dkr.ecr.eu-central-1.amazonaws.com/" + name},
			Schedule: "5m0s", LastRun: before(5 * time.Minute), LastSuccess: before(5 * time.Minute), NextRun: &next, Tags: status.Tags{Wanted: 7, InSync: 7},
		}
		change(&m)
		s.Mirrors = append(s.Mirrors, m)
	}
	add("calm", func(*status.Mirror) {})
	add("late", func(m *status.Mirror) { m.BehindSince = before(3 * time.Hour) })
	add("held", func(m *status.Mirror) { m.Tags = status.Tags{Wanted: 7, InSync: 6, Blocked: 1} })
	add("new", func(m *status.Mirror) { m.LastRun, m.LastSuccess, m.Tags = nil, nil, status.Tags{} })
	add("broken", func(m *status.Mirror) {
		m.Tags = status.Tags{Wanted: 7, InSync: 6, Failed: 1}
		m.Errors = []status.Error{{Destination: "broken:1.2", Reason: `503 <script>alert("1")</script>`}}
		m.WaitsFor = "rests until 12:30 after 3 failed runs"
	})
	add(`"><img src=http://evil.test/x onerror=alert(1)>`, func(*status.Mirror) {})
	return s
}

func render(t *testing.T, s status.Snapshot, q page.Query) string {
	t.Helper()
	r, err := page.New()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := r.Status(&out, s, q); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// rows are the names of the mirrors that a page lists, in their order.
func rows(t *testing.T, text string) []string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "small" && n.PrevSibling != nil && n.PrevSibling.Type == html.TextNode && attribute(n.Parent, "class") == "name" {
			names = append(names, n.PrevSibling.Data)
		}
	}
	return names
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func TestTheMostUrgentComeFirst(t *testing.T) {
	text := render(t, sample(), page.Query{})
	want := []string{"broken", "held", "late", "new", "calm", `"><img src=http://evil.test/x onerror=alert(1)>`}
	if got := rows(t, text); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, phrase := range []string{
		"is broken.", "mirrors.yaml:3:1", "for 3 h 00 min", "5 min ago", "in 4 min", "rests until 12:30", "discovery: access denied", "123.5 MB", "1 min", "up for 30 h 00 min",
	} {
		if !strings.Contains(text, phrase) {
			t.Errorf("the page does not say %q", phrase)
		}
	}
}

func TestQueries(t *testing.T) {
	for _, test := range []struct {
		query page.Query
		want  []string
	}{
		{page.Query{Text: "LIBRARY/CALM"}, []string{"calm"}},
		{page.Query{Text: "503"}, []string{"broken"}},
		{page.Query{State: page.Behind}, []string{"late"}},
		{page.Query{State: page.Behind, Text: "calm"}, nil},
	} {
		text := render(t, sample(), test.query)
		if got := rows(t, text); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %q, want %q", test.query, got, test.want)
		}
	}
}

// Nothing on the page comes from elsewhere or runs, whatever names and errors say.
func TestThePageStandsAlone(t *testing.T) {
	for name, text := range map[string]string{
		"full":     render(t, sample(), page.Query{Text: `"><script>`, Refresh: 30}),
		"empty":    render(t, status.Snapshot{Time: now}, page.Query{}),
		"no match": render(t, sample(), page.Query{Text: "nobody"}),
	} {
		root, err := html.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for n := range root.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			if slices.Contains([]string{"script", "img", "link", "iframe", "object"}, n.Data) {
				t.Errorf("%s: there is a <%s>", name, n.Data)
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || (a.Key == "href" || a.Key == "src" || a.Key == "action") && strings.Contains(a.Val, ":") {
					t.Errorf("%s: <%s %s=%q>", name, n.Data, a.Key, a.Val)
				}
			}
		}
	}
}

func TestManyMirrors(t *testing.T) {
	s := status.Snapshot{Time: now}
	for i := range 3000 {
		s.Mirrors = append(s.Mirrors, status.Mirror{Name: fmt.Sprintf("m%04d", i), LastRun: &now})
	}
	s.Mirrors[2999].Tags.Failed = 1
	s.Totals.Mirrors = len(s.Mirrors)
	text := render(t, s, page.Query{})
	got := rows(t, text)
	if len(got) != page.MostMirrors || got[0] != "m2999" || !strings.Contains(text, "of 3000") {
		t.Errorf("%d rows, the first is %s", len(got), got[0])
	}
}

func serve(t *testing.T, query string) *httptest.ResponseRecorder {
	t.Helper()
	r, err := page.New()
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	page.Handler(r, sample).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?"+query, http.NoBody))
	return w
}

func TestHandler(t *testing.T) {
	w := serve(t, "q=calm&state=nonsense&refresh=1")
	if got := rows(t, w.Body.String()); w.Code != http.StatusOK || !slices.Equal(got, []string{"calm"}) {
		t.Errorf("%d: %q", w.Code, got)
	}
	if !strings.Contains(w.Body.String(), `content="5"`) {
		t.Error("loaded again more often than every five seconds")
	}
	if serve(t, "refresh=x").Body.Len() == 0 {
		t.Error("a query that means nothing shows nothing")
	}
}

// A browser is the judge of the policy: it applies the style, and asks nobody for anything. Set
// PAGE_SCREENSHOTS to a directory to look at what it sees.
func TestABrowserShowsIt(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	r, err := page.New()
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 100)
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", page.Handler(r, sample))
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) { asked <- req.URL.Path; http.NotFound(w, req) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	see := func(args ...string) string {
		args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--user-data-dir=" + t.TempDir()}, args...)
		cmd := exec.CommandContext(t.Context(), browser, append(args, server.URL+"/")...)
		var log strings.Builder
		cmd.Stderr = &log
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
		if complaint := regexp.MustCompile(`(?m)^.*CONSOLE.*$`).FindString(log.String()); complaint != "" {
			t.Errorf("the browser says %s", complaint)
		}
		return string(out)
	}
	if got := rows(t, see("--dump-dom")); len(got) != len(sample().Mirrors) || got[0] != "broken" {
		t.Errorf("the browser shows %q", got)
	}
	if dir := os.Getenv("PAGE_SCREENSHOTS"); dir != "" {
		see("--screenshot="+filepath.Join(dir, "light.png"), "--window-size=1280,1000", "--hide-scrollbars")
		see("--screenshot="+filepath.Join(dir, "dark.png"), "--window-size=1280,1000", "--hide-scrollbars", "--force-dark-mode", "--blink-settings=preferredColorScheme=0")
		see("--screenshot="+filepath.Join(dir, "phone.png"), "--window-size=500,1200", "--hide-scrollbars")
	}
	for len(asked) > 0 {
		if path := <-asked; path != "/favicon.ico" {
			t.Errorf("the browser asked for %s", path)
		}
	}
}
