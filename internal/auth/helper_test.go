package auth_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// A helper that is missing is said to be, one that hangs is given up, and what one prints
// is shown nowhere: it may be the secret.
func TestHelpersThatFail(t *testing.T) {
	const secret = "CANARY-of-a-helper"
	dir := t.TempDir()
	for name, script := range map[string]string{
		"loud":    "echo " + secret + " >&2; echo " + secret + "; exit 3",
		"garbage": "echo '" + secret + "'",
		"slow":    "echo " + secret + "; sleep 600 & wait",
		"noisy":   "echo " + secret + ` >&2; echo '{"ServerURL":"a.test","Username":"u","Secret":"pw"}'`,
	} {
		if err := os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	stderr := filepath.Join(t.TempDir(), "stderr")
	file, err := os.Create(stderr)
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = file
	t.Cleanup(func() { os.Stderr = was })

	for _, text := range []string{`{"credHelpers":{"a.test":"NAME"}}`, `{"credsStore":"NAME"}`} {
		for name, says := range map[string]string{
			"loud":    "docker-credential-loud about a.test: exit status 3 (see what it prints with: echo a.test | docker-credential-loud get)",
			"garbage": "docker-credential-garbage about a.test: its answer is no credential in JSON",
			"missing": "docker-credential-missing",
		} {
			named, err := auth.OpenFile(write(t, strings.ReplaceAll(text, "NAME", name)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := named.Credential(t.Context(), "a.test")
			if err == nil || !got.Anonymous() || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
			if name == "missing" && !errors.Is(err, exec.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		named, err := auth.OpenFile(write(t, strings.ReplaceAll(text, "NAME", "noisy")))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := named.Credential(t.Context(), "a.test"); err != nil || got.Password != "pw" {
			t.Errorf("noisy: %v, %v", got, err)
		}
	}

	start := time.Now()
	if got, err := auth.AskWithin(t.Context(), 100*time.Millisecond, "docker-credential-slow", "a.test"); err == nil ||
		err.Error() != "docker-credential-slow gave no answer about a.test within 100ms" {
		t.Errorf("slow: %v, %v", got, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	time.AfterFunc(100*time.Millisecond, func() { cancel(interrupted) })
	if got, err := auth.AskWithin(ctx, time.Hour, "docker-credential-slow", "a.test"); !errors.Is(err, interrupted) {
		t.Errorf("interrupted: %v, %v", got, err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %s to give a helper up", took)
	}
	if raw, err := os.ReadFile(stderr); err != nil || strings.Contains(string(raw), secret) {
		t.Errorf("standard error got %q, %v", raw, err)
	}
	faults.Covers(t, "F71")
}
