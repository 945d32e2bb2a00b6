package registrytest_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What docs/adding-a-target.md shows is what is compiled here.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../../docs/adding-a-target.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("memory_test.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(page, -1)
	if len(shown) < 5 {
		t.Fatalf("the page shows %d pieces of code", len(shown))
	}
	for _, piece := range shown {
		if !strings.Contains(string(code), string(piece[1])) {
			t.Errorf("the page shows what is not in memory_test.go:\n%s", piece[1])
		}
	}
}
