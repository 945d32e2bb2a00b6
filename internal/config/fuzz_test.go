package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// FuzzLoad: nothing in a file makes Load panic or take long, every problem is one line
// in the file, and what was understood can be shown and read again.
func FuzzLoad(f *testing.F) {
	faults.Covers(f, "I16")
	f.Add(string(config.Example()), "")
	for _, c := range append(problemCases(), credentialCases()...) {
		if len(c.text) < 10_000 {
			f.Add(c.text, "")
			f.Add(head, c.text)
		}
	}
	for _, tags := range tagForms {
		f.Add(withTags("  tags: "+tags+"\n"), "mirrors:\n")
	}
	for _, mapping := range mappings {
		f.Add(mirror("  from: {registry: quay.io, repositories: '**'}\n  to: {registry: r.example.com, "+mapping+"}\n  tags: a\n"), "")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		texts := []string{one}
		if two != "" {
			texts = append(texts, two)
		}
		c, err := load(texts...)
		if err != nil {
			checkProblems(t, "fuzz", err)
			if problems, ok := errors.AsType[config.Problems](err); ok {
				checkPlaces(t, problems, texts)
			}
			return
		}
		for _, p := range c.Patterns {
			mirrors, err := p.Expand([]string{"a", "a/b", "library/nginx", "B", ""})
			if err != nil && strings.Contains(err.Error(), "\x1b") {
				t.Errorf("error %q", err)
			}
			for _, m := range mirrors {
				if m.Upstream == m.Target || m.Target.Path == "" {
					t.Errorf("mirror %+v", m)
				}
			}
		}
		if !hasSecret(c) {
			checkRoundTrip(t, c)
		}
	})
}

// checkPlaces checks that problems are where there is something.
func checkPlaces(t *testing.T, problems config.Problems, texts []string) {
	t.Helper()
	for _, p := range problems {
		at := p.Place
		if at.File == "" || at.Line < 0 || at.Column < 0 || at.Line == 0 && at.Column != 0 {
			t.Errorf("%v is nowhere", p)
			continue
		}
		if text := texts[at.File[0]-'a']; at.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+strings.Count(text, "\u0085")+strings.Count(text, "\u2028")+strings.Count(text, "\u2029")+2 {
			t.Errorf("%v is behind the file's end", p)
		}
	}
}

// hasSecret reports whether a secret stands in a file, which is shown redacted.
func hasSecret(c *config.Config) bool {
	for _, r := range c.File.Registries {
		if r.Credentials == nil {
			continue
		}
		secrets := []config.Secret{r.Credentials.Username, r.Credentials.Password, r.Credentials.Token, r.Credentials.IdentityToken}
		if g := r.Credentials.Google; g != nil {
			secrets = append(secrets, g.Key, g.AccessToken)
		}
		if a := r.Credentials.Azure; a != nil {
			secrets = append(secrets, a.ClientSecret)
		}
		for _, s := range secrets {
			if s.String() == "[redacted]" {
				return true
			}
		}
	}
	return false
}
