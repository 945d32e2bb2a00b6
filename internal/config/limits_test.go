package config_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// Whatever a file of the largest size holds, it is refused or read in bounded time and
// memory.
func TestLimits(t *testing.T) {
	faults.Covers(t, "F87", "F89")
	const size = config.MaxFile
	quadratic := "x-a: &a [" + strings.TrimSuffix(strings.Repeat("x,", 10_000), ",") + "]\nx-b: [" + strings.TrimSuffix(strings.Repeat("*a,", 10_000), ",") + "]\n"
	for name, text := range map[string]string{
		"commas":           "[" + strings.Repeat("a,", size/2-1),
		"lines":            strings.Repeat("a:\n", size/3),
		"flow":             strings.Repeat("[", size),
		"block":            strings.Repeat("- ", size/2),
		"maps":             strings.Repeat("{a: ", size/4),
		"keys":             strings.Repeat("? ", size/2),
		"comments":         strings.Repeat("#\n", size/2),
		"documents":        strings.Repeat("---\n", size/4),
		"anchors":          strings.Repeat("&a ", size/3),
		"one text":         head + "allowedUpstreams: quay.io/" + strings.Repeat("a", size/2),
		"aliases":          head + quadratic,
		"bomb":             head + "x-a: &a [x,x,x,x,x,x,x,x,x,x]\n" + bomb(),
		"merge keys":       head + "x-a: &a {" + manyKeys(2000) + "}\nx-b: [" + strings.Repeat("{<<: *a},", 2000) + "]\n",
		"merge key chains": head + "x-0: &a0 {a: b}\n" + chain(20_000),
		"unknown keys":     head + "mirrors: [" + strings.Repeat("{x: y},", 20_000) + "]\n",
		"expressions":      head + "mirrors:\n" + strings.Repeat("- {name: a, from: quay.io/a, to: quay.io/b, tags: {regex: '(.{1000}){1000}|\\pL{1000}'}}\n", 5000),
	} {
		start, before := time.Now(), allocated()
		if _, err := load(text); err == nil {
			t.Errorf("%s: no problem", name)
		}
		if took, used := time.Since(start), (allocated()-before)>>20; took > 20*time.Second || used > 512 {
			t.Errorf("%s: %s, %d MiB allocated in all", name, took, used)
		}
	}
}

func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: v, ", i)
	}
	return b.String()
}

func chain(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x-%d: &a%d {<<: *a%d}\n", i+1, i+1, i)
	}
	return b.String()
}

// manyMirrors is a file of so many mirrors.
func manyMirrors(n int) string {
	var b strings.Builder
	b.WriteString(head + "mirrors:\n")
	for i := range n {
		fmt.Fprintf(&b, "- {name: m%d, from: quay.io/a/a%d, to: r.example.com/m/a%d, tags: [latest, 1.*]}\n", i, i, i)
	}
	return b.String()
}

// Some thousand mirrors are a large file, and not too large.
func TestManyMirrors(t *testing.T) {
	if rules := mustLoad(t, manyMirrors(3000)).Rules; len(rules) != 3000 {
		t.Errorf("%d rules", len(rules))
	}
}

func BenchmarkLoad(b *testing.B) {
	text := manyMirrors(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := load(text); err != nil {
			b.Fatal(err)
		}
	}
}
