package state_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/state"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

const (
	a = ref.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	b = ref.Digest("sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
)

var (
	repo   = ref.Repository{Host: "ecr.example", Path: "app"}
	monday = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
)

func days(n int) time.Time { return monday.AddDate(0, 0, n) }

// saw is what a run saw that was sure of everything.
func saw(unwanted map[string]ref.Digest) []state.Observation {
	return []state.Observation{{Repository: repo, Unwanted: unwanted, Certain: true}}
}

func old(d ref.Digest) map[string]ref.Digest { return map[string]ref.Digest{"old": d} }

func TestSince(t *testing.T) {
	tests := []struct {
		name string
		runs func(state.State) state.State
		want time.Time
	}{
		{"never seen", func(s state.State) state.State { return s }, time.Time{}},
		{"seen once", func(s state.State) state.State { return s.Observe(saw(old(a)), days(0)) }, days(0)},
		{"seen twice", func(s state.State) state.State {
			return s.Observe(saw(old(a)), days(0)).Observe(saw(old(a)), days(5))
		}, days(0)},
		{"wanted in between", func(s state.State) state.State {
			s = s.Observe(saw(old(a)), days(0)).Observe(saw(nil), days(1))
			return s.Observe(saw(old(a)), days(5))
		}, days(5)},
		{"wanted in between, by a run that was sure of nothing else", func(s state.State) state.State {
			s = s.Observe(saw(old(a)), days(0))
			s = s.Observe([]state.Observation{{Repository: repo, Wanted: []string{"old"}}}, days(1))
			return s.Observe(saw(old(a)), days(5))
		}, days(5)},
		{"a run in between was sure of nothing", func(s state.State) state.State {
			s = s.Observe(saw(old(a)), days(0))
			s = s.Observe([]state.Observation{{Repository: repo, Wanted: []string{"other"}}}, days(1))
			return s.Observe(saw(old(a)), days(5))
		}, days(0)},
		{"another repository in between", func(s state.State) state.State {
			s = s.Observe(saw(old(a)), days(0))
			return s.Observe([]state.Observation{{Repository: ref.Repository{Host: "ecr.example", Path: "b"}, Certain: true}}, days(1))
		}, days(0)},
		{"the tag was pushed again", func(s state.State) state.State {
			return s.Observe(saw(old(b)), days(0)).Observe(saw(old(a)), days(5))
		}, days(5)},
		{"it means something else now", func(s state.State) state.State { return s.Observe(saw(old(b)), days(0)) }, time.Time{}},
		{"nobody looked for too long", func(s state.State) state.State { return s.Observe(saw(old(a)), days(-36)) }, time.Time{}},
		{"nobody looked for too long, and then somebody did", func(s state.State) state.State {
			return s.Observe(saw(old(a)), days(-60)).Observe(saw(old(a)), days(1))
		}, days(1)},
		{"the clock went back", func(s state.State) state.State { return s.Observe(saw(old(a)), days(9)) }, time.Time{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := reread(t, test.runs(state.State{}))
			if got := s.Since(repo.Tagged("old"), a, days(6)); !got.Equal(test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// reread writes a state and reads it again.
func reread(t interface{ Fatal(...any) }, s state.State) state.State {
	data, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := state.Parse(data)
	if err != nil {
		t.Fatal(fmt.Sprintf("%v of\n%s", err, data))
	}
	return again
}

// Observe is a function of its arguments: a state that was handed out stays as it is.
func TestObserveChangesNothing(t *testing.T) {
	s := state.State{}.Observe(saw(old(a)), days(0))
	before, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s.Observe(saw(map[string]ref.Digest{"new": b}), days(1))
	s.Observe([]state.Observation{{Repository: repo, Wanted: []string{"old"}}}, days(1))
	after, err := s.Encode()
	if err != nil || string(before) != string(after) {
		t.Errorf("it became %s, %v", after, err)
	}
}

// What is remembered is never older than what was seen: whatever runs saw, a tag that was
// wanted in any of them is not unwanted since before.
func TestNothingIsRememberedTooLong(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := state.State{}, monday
		var unwantedSince time.Time // of the tag old, meaning a; zero while it is not
		for range rapid.IntRange(1, 12).Draw(t, "runs") {
			now = now.Add(time.Duration(rapid.IntRange(1, 60*24).Draw(t, "hours")) * time.Hour)
			o := state.Observation{Repository: repo, Certain: rapid.Bool().Draw(t, "certain")}
			switch rapid.SampledFrom([]string{"unwanted", "other digest", "wanted", "nothing"}).Draw(t, "seen") {
			case "unwanted":
				o.Unwanted = old(a)
				if unwantedSince.IsZero() {
					unwantedSince = now
				}
			case "other digest":
				o.Unwanted, unwantedSince = old(b), time.Time{}
			case "wanted":
				o.Wanted, unwantedSince = []string{"old"}, time.Time{}
			case "nothing":
				if o.Certain {
					unwantedSince = time.Time{}
				}
			}
			s = reread(t, s.Observe([]state.Observation{o}, now))
			got := s.Since(repo.Tagged("old"), a, now)
			if !got.IsZero() && (unwantedSince.IsZero() || got.Before(unwantedSince)) {
				t.Fatalf("unwanted since %s, and the truth is %s", got, unwantedSince)
			}
		}
	})
}

func TestParseIsStrict(t *testing.T) {
	faults.Covers(t, "F82")
	whole := func(tag, entry string) string {
		return fmt.Sprintf(`{"apiVersion":%q,"repositories":{"ecr.example/app":{%q:%s}}}`, state.APIVersion, tag, entry)
	}
	entry := func(digest ref.Digest, since, seen string) string {
		return fmt.Sprintf(`{"digest":%q,"since":%q,"seen":%q}`, digest, since, seen)
	}
	const first, later = "2026-03-02T09:00:00Z", "2026-03-03T09:00:00Z"
	if _, err := state.Parse([]byte(whole("1.0", entry(a, first, later)))); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"empty":              {"", "no state"},
		"cut short":          {whole("1.0", entry(a, first, later))[:90], "no state"},
		"something behind":   {whole("1.0", entry(a, first, later)) + "{}", "follows its end"},
		"another file":       {`{"hello":"world"}`, "no state"},
		"a list":             {`[]`, "no state"},
		"null":               {`null`, "apiVersion"},
		"a later version":    {`{"apiVersion":"ecr-mirror-sync.io/state/v2"}`, "this version reads"},
		"another key":        {whole("1.0", `{"digest":"x","until":"`+first+`"}`), "until"},
		"no tag":             {whole("-1", entry(a, first, later)), "no tag"},
		"no digest":          {whole("1.0", entry("sha256:x", first, later)), "no digest"},
		"no date":            {whole("1.0", entry(a, "yesterday", later)), "no state"},
		"no beginning":       {whole("1.0", `{"digest":"`+string(a)+`","seen":"`+later+`"}`), "contradict"},
		"times turned round": {whole("1.0", entry(a, later, first)), "contradict"},
		"no repository":      {`{"apiVersion":"` + state.APIVersion + `","repositories":{"UPPER":{}}}`, "no repository"},
		"too large":          {strings.Repeat(" ", state.MaxSize+1), "at most"},
	} {
		if _, err := state.Parse([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// FuzzParse: nothing makes it panic, and what it takes it writes again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"ecr-mirror-sync.io/state/v1","repositories":{"ecr.example/app":{"1.0":{"digest":"` + string(a) + `","since":"2026-03-02T09:00:00Z","seen":"2026-03-02T09:00:00Z"}}}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := state.Parse(data)
		if err != nil {
			return
		}
		reread(t, s)
	})
}
