package migrate

import (
	"regexp"
	"strings"
	"testing"
)

func TestHasAlternatives(t *testing.T) {
	tests := map[string]bool{
		"a|b": true, "(a|b)": false, "(a)|b": true, `a\|b`: false, "[a|b]": false, "[]|]": false, "[^]|]": false, "[]]|b": true,
		`\Qa|b`: false, `\Qa|b\E`: false, `\Qa\E|b`: true, `[\]|]`: false, "": false, "|": true, "(?:a|b)c": false, "((a|b)|c)": false,
		`\\|b`: true, "[[:alpha:]|x]": false, "a": false,
	}
	for expression, want := range tests {
		if got := hasAlternatives(expression); got != want {
			t.Errorf("%q: %t", expression, got)
		}
	}
}

// TestAnywhere: what is returned matches the whole of a text where the expression matches
// a part of it.
func TestAnywhere(t *testing.T) {
	texts := []string{"", "a", "b", "ab", "xa", "ax", "xax", "1.13.1-alpine", "v1.13.1", "a$", "$", "aab", "bax", "alpine3.20"}
	expressions := []string{
		"a", "^a", "a$", "^a$", "^a|b$", "^(a|b)$", "", "^$", "^", "$", `a\$`, `^a\$`, `^a\\$`, "^a$|^b$", "(?i)^A$", `\Qa`, `^\Qa$`, "^[ab]+$", "^(?i)A$", ".*", "^.*$",
		`^1\.13\.[12]-alpine$`, "alpine", `^\d`, "^a*$", "^^a$$",
	}
	for _, expression := range expressions {
		part := regexp.MustCompile(expression)
		translated := anywhere(expression)
		whole, err := regexp.Compile("^(?:" + translated + ")$")
		if err != nil {
			t.Errorf("%q: %v", expression, err)
			continue
		}
		for _, text := range texts {
			if got, want := whole.MatchString(text), part.MatchString(text); got != want {
				t.Errorf("%q, written %q: %q matches: %t, want %t", expression, translated, text, got, want)
			}
		}
	}
	if got := anywhere(`^1\.13\.[12]-alpine-perl$`); got != `1\.13\.[12]-alpine-perl` {
		t.Errorf("written %q", got)
	}
}

// TestWithoutSlash: where a rewrite is said to do the same, what it makes of each path is
// what the old one makes of it with a slash before.
func TestWithoutSlash(t *testing.T) {
	paths := []string{"a", "jenkins/jnlp-slave", "other/jenkins/x", "jenkins", "a/b/c", "kubika/brucket", "x/kubika/brucket", "prod/app", "app/prod", "aa/aa/aa", "my/app", "myproject/webui", "jenkinsx/y"}
	tests := []struct {
		expression, replacement string
		same                    bool
	}{
		{"jenkins/", "dh/other-jenkins/", true},
		{"my(.+)/", "from-dh/your$1/", true},
		{"^/kubika/(.*)", "/ecr/$1", true},
		{"/jenkins/(.*)", "/dh/$1", true},
		{"/jenkins/", "/dh/", true},
		{"/(a+)", "/x-$1", true},
		{"/([a-z]+)/([a-z]+)", "/$2/${1}", true},
		{"/", "/x-", true},
		{"^/", "/mirror/", true},
		{"^/", "/", true},
		{"/(?P<first>a)", "/${first}b", true},
		{"/a", "/$$1", true},
		{"app$", "application", true},
		{"[a-j]enkins", "x", true},
		{"a+", "b", true},
		{`\bprod`, "live", true},
		{"(.*)/(.*)", "$1-$2", false},
		{"/prod", "-prod", false},
		{".*", "x", false},
		{"a*", "x", false},
		{"a?", "x", false},
		{"a{0,2}", "x", false},
		{"a|/b", "/x", false},
		{"/a|b", "/x", false},
		{"/?a", "/x", false},
		{"/a", "/x$0", false},
		{"/a", "/x${0}", false},
		{"^jenkins", "x", false},
		{"[^a]", "x", false},
		{"(^a)|b", "x", false},
		{"(", "x", false},
	}
	for _, test := range tests {
		w := rewrite{test.expression, test.replacement}
		translated, same := w.withoutSlash()
		if same != test.same {
			t.Errorf("%v: the same: %t", w, same)
		}
		if !same {
			continue
		}
		before, now := regexp.MustCompile(w.expression), regexp.MustCompile(translated.expression)
		for _, path := range paths {
			want := strings.TrimPrefix(before.ReplaceAllString("/"+path, w.replacement), "/")
			if got := now.ReplaceAllString(path, translated.replacement); got != want {
				t.Errorf("%v, written %v: %q becomes %q, want %q", w, translated, path, got, want)
			}
		}
	}
}

func TestNeverMatches(t *testing.T) {
	for expression, want := range map[string]bool{"^jenkins/": true, "^/jenkins/": false, "jenkins": false, "^.*": false, "^": false, "^(a|b)": true, "^a*/": false, "(": false} {
		if got := (rewrite{expression, "x"}).neverMatches(); got != want {
			t.Errorf("%q: %t", expression, got)
		}
		if compiled, err := regexp.Compile(expression); err == nil && want && compiled.MatchString("/jenkins/a") {
			t.Errorf("%q matches", expression)
		}
	}
}

func FuzzWithoutSlash(f *testing.F) {
	f.Add("/jenkins/(.*)", "/dh/$1", "jenkins/x")
	f.Add("my(.+)/", "your$1/", "my/app")
	f.Add("(.*)/", "$1", "a/b")
	f.Fuzz(func(t *testing.T, expression, replacement, path string) {
		before, err := regexp.Compile(expression)
		if err != nil || len(expression) > 100 || len(path) > 100 || strings.HasPrefix(path, "/") || !strings.HasPrefix(replacement, "/") {
			return
		}
		w := rewrite{expression, replacement}
		translated, same := w.withoutSlash()
		now, err := regexp.Compile(translated.expression)
		if err != nil {
			t.Fatalf("%v becomes %v: %v", w, translated, err)
		}
		was := before.ReplaceAllString("/"+path, replacement)
		if same && strings.HasPrefix(was, "/") && now.ReplaceAllString(path, translated.replacement) != was[1:] {
			t.Errorf("%v, written %v: %q becomes %q, want %q", w, translated, path, now.ReplaceAllString(path, translated.replacement), was[1:])
		}
	})
}

func FuzzAnywhere(f *testing.F) {
	f.Add("^a$", "a")
	f.Add("a|b", "xb")
	f.Fuzz(func(t *testing.T, expression, text string) {
		part, err := regexp.Compile(expression)
		if err != nil || len(expression) > 100 || strings.ContainsAny(text, "\n") {
			return
		}
		whole, err := regexp.Compile("^(?:" + anywhere(expression) + ")$")
		if err == nil && whole.MatchString(text) != part.MatchString(text) {
			t.Errorf("%q, written %q, %q", expression, anywhere(expression), text)
		}
	})
}
