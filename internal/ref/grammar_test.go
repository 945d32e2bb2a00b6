package ref_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// tagGrammar is that of the specification.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
var tagGrammar = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// spoiled draws a text, or one that differs from it a little.
func spoiled(t *rapid.T, text string) string {
	if text == "" || rapid.Bool().Draw(t, "left alone") {
		return text
	}
	at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
	with := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\n", "g", "F", "/", ":", "@", "`", "\x7f", "é"})).Draw(t, "with")
	return text[:at] + with + text[at+rapid.IntRange(0, 1).Draw(t, "in place of"):]
}

func TestValidTagIsTheGrammar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tag := spoiled(t, rapid.StringMatching(`[A-Za-z0-9._-]{0,130}`).Draw(t, "tag"))
		if got, want := ref.ValidTag(tag), tagGrammar.MatchString(tag); got != want {
			t.Errorf("ValidTag(%q) = %t, and the grammar says %t", tag, got, want)
		}
	})
	for c := range 256 {
		for _, tag := range []string{string([]byte{byte(c)}), "a" + string([]byte{byte(c)})} {
			if got, want := ref.ValidTag(tag), tagGrammar.MatchString(tag); got != want {
				t.Errorf("ValidTag(%q) = %t, and the grammar says %t", tag, got, want)
			}
		}
	}
}

func TestParseDigestIsTheLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := spoiled(t, rapid.SampledFrom([]string{"sha256:", "sha512:", "SHA256:", "md5:", ""}).Draw(t, "algorithm")+
			rapid.StringMatching(`[0-9a-f]{64}([0-9a-f]{64})?`).Draw(t, "hex"))
		got, err := ref.ParseDigest(text)
		want, wantErr := digest.Parse(text)
		if (err == nil) != (wantErr == nil) || err == nil && got != want {
			t.Errorf("ParseDigest(%q) = %q, %v, and the library %q, %v", text, got, err, want, wantErr)
		}
	})
	for c := range 256 {
		text := "sha256:" + strings.Repeat("0", 63) + string([]byte{byte(c)})
		if _, err := ref.ParseDigest(text); (err == nil) != (digest.Digest(text).Validate() == nil) {
			t.Errorf("ParseDigest(%q): %v", text, err)
		}
	}
}

// Every answer of a registry has a digest in it, every list its tags.
func TestReadingAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(10, func() {
		if _, err := ref.ParseDigest(sha256Digest); err != nil || !ref.ValidTag("1.27.3-alpine") {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}
