package shard_test

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/shard"
)

// all returns the N shards.
func all(t interface{ Fatal(args ...any) }, n int) []shard.Shard {
	shards := make([]shard.Shard, n)
	for i := range shards {
		var err error
		if shards[i], err = shard.New(i, n); err != nil {
			t.Fatal(err)
		}
	}
	return shards
}

// owners returns who has a destination.
func owners(shards []shard.Shard, destination ref.Repository) []int {
	var owners []int
	for i, s := range shards {
		if s.Has(destination) {
			owners = append(owners, i)
		}
	}
	return owners
}

func repository(i int) ref.Repository {
	return ref.Repository{Host: "111122223333.dkr.ecr.eu-west-1.amazonaws.com", Path: fmt.Sprintf("mirrors/team-%d/app-%d", i%17, i)}
}

func TestEveryDestinationIsInExactlyOneShard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "shards")
		destination := ref.Repository{
			Host: rapid.StringMatching(`[a-z0-9.-]{1,40}`).Draw(t, "host"),
			Path: rapid.StringMatching(`[a-z0-9/._-]{1,60}`).Draw(t, "path"),
		}
		if got := owners(all(t, n), destination); len(got) != 1 {
			t.Fatalf("%s belongs to the shards %v of %d", destination, got, n)
		}
	})
}

// A repository of the same name in another registry is another destination.
func TestTheRegistryCounts(t *testing.T) {
	shards := all(t, 8)
	hosts := make(map[int]bool)
	for i := range 64 {
		host := fmt.Sprintf("%012d.dkr.ecr.eu-west-1.amazonaws.com", i)
		hosts[owners(shards, ref.Repository{Host: host, Path: "app"})[0]] = true
	}
	if len(hosts) != len(shards) {
		t.Errorf("one name in 64 registries falls to %d of %d shards", len(hosts), len(shards))
	}
}

func TestOneMoreShardTakesItsShareAndMovesNothingElse(t *testing.T) {
	const destinations = 4000
	for _, n := range []int{1, 2, 3, 7, 20} {
		before, after := all(t, n), all(t, n+1)
		moved := 0
		for i := range destinations {
			was, is := owners(before, repository(i))[0], owners(after, repository(i))[0]
			if was == is {
				continue
			}
			moved++
			if is != n {
				t.Fatalf("from %d shards to %d, %s moves from %d to %d: it may move to the new one alone", n, n+1, repository(i), was, is)
			}
		}
		within(t, fmt.Sprintf("from %d shards to %d", n, n+1), moved, destinations, n+1)
	}
}

func TestSharesAreEven(t *testing.T) {
	const destinations = 4000
	for _, n := range []int{2, 3, 7, 20} {
		count := make([]int, n)
		for i := range destinations {
			count[owners(all(t, n), repository(i))[0]]++
		}
		for i, has := range count {
			within(t, fmt.Sprintf("shard %d/%d", i, n), has, destinations, n)
		}
	}
}

// within checks that got is one of n even parts of all, give or take five times what
// throwing dice would.
func within(t *testing.T, what string, got, all, n int) {
	t.Helper()
	p := 1 / float64(n)
	want, spread := float64(all)*p, math.Sqrt(float64(all)*p*(1-p))
	if math.Abs(float64(got)-want) > 5*spread {
		t.Errorf("%s: %d of %d, want about %.0f", what, got, all, want)
	}
}

// The choice is part of what shards of different versions agree on: it may never change.
func TestTheChoiceNeverChanges(t *testing.T) {
	tests := []struct {
		destination ref.Repository
		of          map[int]int // the owner among so many
	}{
		{ref.Repository{Host: "111122223333.dkr.ecr.eu-west-1.amazonaws.com", Path: "mirrors/nginx"}, map[int]int{2: 1, 3: 2, 7: 2}},
		{ref.Repository{Host: "docker.io", Path: "library/nginx"}, map[int]int{2: 1, 3: 1, 7: 4, 1000: 983}},
	}
	for _, tt := range tests {
		for n, want := range tt.of {
			if got := owners(all(t, n), tt.destination); got[0] != want {
				t.Errorf("%s is shard %v of %d, and was shard %d", tt.destination, got, n, want)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{"0/1", "0/4", "3/4", "1023/1024"} {
		s, err := shard.Parse(text)
		if err != nil || s.String() != text {
			t.Errorf("%q is %v, %v", text, s, err)
		}
	}
	tests := []struct{ text, want string }{
		{"", `"" is no shard: expected i/N, such as 0/4 for the first of four`},
		{"3", `"3" is no shard: expected i/N, such as 0/4 for the first of four`},
		{"a/4", `"a/4" is no shard: expected i/N, such as 0/4 for the first of four`},
		{"1/4/2", `"1/4/2" is no shard: expected i/N, such as 0/4 for the first of four`},
		{"4/4", "shard 4 of 4: shards are counted from 0, so expected 0 to 3"},
		{"-1/4", "shard -1 of 4: shards are counted from 0, so expected 0 to 3"},
		{"0/0", "0 shards: expected 1 to 1024"},
		{"0/1025", "1025 shards: expected 1 to 1024"},
	}
	for _, tt := range tests {
		if s, err := shard.Parse(tt.text); err == nil || err.Error() != tt.want {
			t.Errorf("%q is %v, %v; want the error %s", tt.text, s, err, tt.want)
		}
	}
}

func TestPartsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, things := rapid.IntRange(1, 40).Draw(t, "shards"), rapid.IntRange(0, 500).Draw(t, "things")
		sum := 0
		for _, s := range all(t, n) {
			part := s.Part(things)
			if part < things/n || part > things/n+1 {
				t.Fatalf("%s has %d of %d", s, part, things)
			}
			sum += part
		}
		if sum != things {
			t.Fatalf("the parts of %d among %d shards add up to %d", things, n, sum)
		}
	})
}

func TestRate(t *testing.T) {
	tests := []struct {
		shard          string
		granted, least float64
		want           float64
	}{
		{"0/1", 9, 0.5, 9},
		{"0/3", 9, 0.5, 3},
		{"2/3", 9, 0.5, 3},
		{"0/100", 9, 0.5, 0.5}, // what is left would hardly move
		{"0/4", 0.2, 0.5, 0.2}, // never more than is granted
		{"0/4", 0, 0.5, 0},     // no limit
	}
	for _, tt := range tests {
		s, err := shard.Parse(tt.shard)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Rate(tt.granted, tt.least); got != tt.want {
			t.Errorf("%s of %g is %g, want %g", tt.shard, tt.granted, got, tt.want)
		}
	}
}

func TestTheZeroShardIsTheWhole(t *testing.T) {
	var s shard.Shard
	if !s.Whole() || s.String() != "" || !s.Has(repository(1)) || s.Part(20) != 20 || s.Rate(9, 0.5) != 9 {
		t.Errorf("%+v leaves something out", s)
	}
}
