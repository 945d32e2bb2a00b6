package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// shared is what several processes are to mirror: tagged repositories, one with a value
// that does not parse, and a file with a rule that clashes with resource tags, and one that
// asks for more tags than there are.
type shared struct {
	t        *testing.T
	upstream *ecrlocaltest.Registry
	ecr      *ecrlocaltest.Running
	config   string
}

const sharedRepositories = 12

func newShared(t *testing.T, upstream *ecrlocaltest.Registry) *shared {
	t.Helper()
	s := &shared{t: t, upstream: upstream, ecr: ecrlocaltest.Start(t)}
	home := t.TempDir()
	for _, pair := range append(s.ecr.Env(), "HOME="+home, "XDG_RUNTIME_DIR="+home,
		"AWS_CONFIG_FILE="+filepath.Join(home, "aws-config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, "aws-credentials")) {
		key, value, _ := strings.Cut(pair, "=")
		t.Setenv(key, value)
	}
	for i := range sharedRepositories {
		s.create(fmt.Sprintf("mirrors/app-%d", i), map[string]string{
			"upstream-image": fmt.Sprintf("%s/org/app-%d", upstream.Host, i), "upstream-tags": "1.+",
		})
	}
	s.create("mirrors/broken", map[string]string{"upstream-image": upstream.Host + "/org/app-0", "upstream-tags": "1.0//2.0"})
	s.create("mirrors/clash", map[string]string{"upstream-image": upstream.Host + "/extra/one", "upstream-tags": "1.0"})
	s.create("files/few", nil)
	s.config = filepath.Join(home, "mirrors.yaml")
	text := fmt.Sprintf(`apiVersion: ecr-mirror-sync.io/v1alpha1
discovery:
  ecr: [{}]
mirrors:
  - {name: clash, from: %[1]s/extra/other, to: %[2]s/mirrors/clash, tags: ["1.0"]}
  - {name: few, from: %[1]s/extra/few, to: %[2]s/files/few, tags: {globs: ["1.*"], minTags: 3}}
`, upstream.Host, s.ecr.Host)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shared) create(name string, tags map[string]string) {
	if err := s.ecr.CreateRepository(name, ecrlocal.RepositoryOptions{Tags: tags}); err != nil {
		s.t.Fatal(err)
	}
}

// sharedUpstream holds an upstream repository for each destination, so that what is asked of
// one is asked for one destination. They share a layer.
func sharedUpstream(t *testing.T) *ecrlocaltest.Registry {
	t.Helper()
	upstream := ecrlocaltest.StartRegistry(t)
	repositories := []string{"extra/one", "extra/other", "extra/few"}
	for i := range sharedRepositories {
		repositories = append(repositories, fmt.Sprintf("org/app-%d", i))
	}
	for _, repo := range repositories {
		for _, tag := range []string{"1.0", "1.1"} {
			node, err := image("single", repo+tag)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := imagetest.Push(t.Context(), nil, upstream.URL, repo, tag, node); err != nil {
				t.Fatal(err)
			}
		}
	}
	return upstream
}

// sharedReport is what of a report does not differ between one process and many.
type sharedReport struct {
	Shard string
	Rows  []struct{ Source, Destination, Tag, Status, Digest, Reason string }
}

// run runs the program in this process and returns its report.
func (s *shared) run(args ...string) (sharedReport, int) {
	s.t.Helper()
	out, err := os.Create(filepath.Join(s.t.TempDir(), "out"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	fast := []string{"--limit-manifest-writes", "1000", "--limit-uploads", "1000"} // what shards have of ECR's would be waited for
	code := cli.Main(slices.Concat(args, fast, []string{"--config", s.config, "-o", "json"}), cli.Streams{In: strings.NewReader(""), Out: out, Err: os.Stderr})
	text, err := os.ReadFile(out.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	text = []byte(strings.NewReplacer(s.ecr.Host, "ECR", s.config, "FILE").Replace(string(text)))
	var r sharedReport
	if err := json.Unmarshal(text, &r); err != nil {
		s.t.Fatalf("%v ended with %d and no report: %v\n%s", args, code, err, text)
	}
	return r, code
}

// together runs a command as n processes, one after the other, and returns all their rows by
// destination. A row in two of their reports is an error.
func (s *shared) together(n int, command ...string) map[string]string {
	s.t.Helper()
	rows := make(map[string]string)
	whose := make(map[string]string)
	for i := range n {
		shard := fmt.Sprintf("%d/%d", i, n)
		r, _ := s.run(append(command, "--shard", shard)...)
		if r.Shard != shard {
			s.t.Errorf("the report of shard %s says shard %q", shard, r.Shard)
		}
		for key, row := range byDestination(r) {
			if other, twice := whose[key]; twice {
				s.t.Errorf("%s is in the reports of the shards %s and %s", key, other, shard)
			}
			rows[key], whose[key] = row, shard
		}
	}
	return rows
}

// byDestination returns the rows of a report by their destination tags. Two rows of one
// destination tag, which rules that clash have, are one entry.
func byDestination(r sharedReport) map[string]string {
	rows := make(map[string]string)
	for _, row := range r.Rows {
		rows[row.Destination+":"+row.Tag] += strings.Join([]string{row.Source, row.Status, row.Digest, row.Reason}, " | ") + "\n"
	}
	return rows
}

// N shards together do what one process does, and nothing twice.
func TestShardsTogetherDoWhatOneProcessDoes(t *testing.T) {
	upstream := sharedUpstream(t)
	one := newShared(t, upstream)
	listed, code := one.run("list")
	if code != 1 {
		t.Fatalf("list ended with %d, want 1 for the row that cannot be read", code)
	}
	upstream.ResetJournal()
	report, code := one.run("sync", "--insecure-policy")
	wantList, want := byDestination(listed), byDestination(report)
	if code != 1 || len(want) != 2*sharedRepositories+3 {
		t.Fatalf("one process ended with %d and has %d rows: %v", code, len(want), want)
	}
	asked := headsOf(upstream.Journal())
	for _, n := range []int{1, 2, 3, 7} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			s := newShared(t, upstream)
			if diff := cmp.Diff(wantList, s.together(n, "list")); diff != "" {
				t.Errorf("list: one process and %d shards differ (-one +shards)\n%s", n, diff)
			}
			upstream.ResetJournal()
			if diff := cmp.Diff(want, s.together(n, "sync", "--insecure-policy")); diff != "" {
				t.Errorf("sync: one process and %d shards differ (-one +shards)\n%s", n, diff)
			}
			if diff := cmp.Diff(asked, headsOf(upstream.Journal())); diff != "" {
				t.Errorf("upstream was asked differently (-one +shards)\n%s", diff)
			}
			s.wroteEachTagOnce()
			s.holdsWhatUpstreamHolds()
		})
	}
}

// headsOf counts the HEADs for each upstream tag.
func headsOf(journal []ecrlocal.Entry) map[string]int {
	heads := make(map[string]int)
	for _, e := range journal {
		if e.Op == "manifest-head" {
			heads[e.Repository+":"+e.Reference]++
		}
	}
	return heads
}

func (s *shared) wroteEachTagOnce() {
	s.t.Helper()
	times := make(map[string]int)
	for _, e := range s.ecr.Journal() {
		if e.Op == "manifest-put" && !strings.HasPrefix(e.Reference, "sha256:") {
			times[e.Repository+":"+e.Reference]++
		}
	}
	want := make(map[string]int)
	for i := range sharedRepositories {
		want[fmt.Sprintf("mirrors/app-%d:1.0", i)], want[fmt.Sprintf("mirrors/app-%d:1.1", i)] = 1, 1
	}
	if diff := cmp.Diff(want, times); diff != "" {
		s.t.Errorf("tags were written (-want +got)\n%s", diff)
	}
}

func (s *shared) holdsWhatUpstreamHolds() {
	s.t.Helper()
	for i := range sharedRepositories {
		check := func(o walker.Options) walker.Report {
			report, err := walker.Check(s.t.Context(), o)
			if err == nil {
				err = report.Err()
			}
			if err != nil {
				s.t.Fatal(err)
			}
			return report
		}
		original := check(walker.Options{Base: s.upstream.URL, Repository: fmt.Sprintf("org/app-%d", i), Reference: "1.1", Deep: true})
		mirrored := check(walker.Options{
			Base: s.ecr.URL, Repository: fmt.Sprintf("mirrors/app-%d", i), Reference: "1.1", Deep: true,
			Username: "AWS", Password: s.ecr.Password("", ""),
		})
		if err := walker.Same(original, mirrored); err != nil {
			s.t.Error(err)
		}
	}
}
