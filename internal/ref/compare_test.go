package ref_test

import (
	"cmp"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Plans are sorted by Compare, and people see the order of the texts: "a.b/x" is before
// "a/x", though the host "a" is before "a.b".
func TestCompareIsTheOrderOfTheTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		repository := rapid.Custom(func(t *rapid.T) ref.Repository {
			return ref.Repository{
				Host: rapid.StringMatching(`([ab.:-]{1,3})?`).Draw(t, "host"),
				Path: rapid.StringMatching(`[ab/._-]{0,4}`).Draw(t, "path"),
			}
		})
		reference := rapid.Custom(func(t *rapid.T) ref.Reference {
			return ref.Reference{
				Repository: repository.Draw(t, "repository"),
				Tag:        rapid.StringMatching(`[ab._-]{0,2}`).Draw(t, "tag"),
				Digest:     ref.Digest(rapid.StringMatching(`(s:[ab]{1,2})?`).Draw(t, "digest")),
			}
		})
		a, b := reference.Draw(t, "a"), reference.Draw(t, "b")
		if got, want := a.Compare(b), cmp.Compare(a.String(), b.String()); got != want {
			t.Errorf("%q.Compare(%q) = %d, want %d", a, b, got, want)
		}
		if got, want := a.Repository.Compare(b.Repository), cmp.Compare(a.Repository.String(), b.Repository.String()); got != want {
			t.Errorf("%q.Compare(%q) = %d, want %d", a.Repository, b.Repository, got, want)
		}
	})
}
