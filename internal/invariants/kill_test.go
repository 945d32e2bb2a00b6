package invariants_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faultreg"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// program is the program itself, about to copy upstream's tags to a repository.
func (w *world) program(ctx context.Context, t *testing.T, out *bytes.Buffer, repo string, flags ...string) *exec.Cmd {
	t.Helper()
	args := append([]string{"copy", "-s", w.up.Host + "/team/app", "-d", w.down.Host + "/" + repo, "--tags", "index/single", "--insecure-policy"}, flags...)
	return program(ctx, t, out, args...)
}

// program is the program itself, about to run a command. It sees nothing of this user's.
func program(ctx context.Context, t *testing.T, out *bytes.Buffer, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	home := t.TempDir()
	cmd.Env = []string{
		asProgram + "=1", "HOME=" + home, "XDG_RUNTIME_DIR=" + home, "AWS_EC2_METADATA_DISABLED=true", "AWS_REGION=us-east-1",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "GORACE=atexit_sleep_ms=20",
	}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

// inShell has a shell run a script in a command's place, which finds the command as "$@"
// and an argument of its own as $0.
func inShell(cmd *exec.Cmd, script, zero string, shell ...string) {
	shell = append(shell, "sh", "-c", script, zero, cmd.Path)
	cmd.Args = append(shell, cmd.Args[1:]...)
	cmd.Path, cmd.Err = exec.LookPath(shell[0])
}

// The process is killed at a request, as a kernel that is out of memory does it: no tag is
// anything but a complete image, and nothing keeps the next process from arriving.
func TestKilledProcess(t *testing.T) {
	w, old, now := registryWorld(t), rich("old"), rich("new")
	if err := bring(w.upURL, "team/app", now); err != nil {
		t.Fatal(err)
	}
	stride := 12
	if faults.Full() {
		stride = 2
	}
	points, broken, lost := 0, 0, 0
	for nth, more := 2, true; more; nth += stride {
		repo := fmt.Sprintf("n%d/app", nth)
		if err := bring(w.downURL, repo, old); err != nil {
			t.Fatal(err)
		}
		w.quiet()
		var out bytes.Buffer
		cmd := w.program(t.Context(), t, &out, repo)
		started := make(chan *os.Process, 1)
		kill := func() { _ = (<-started).Kill() }
		do := faultreg.ActThen(faultreg.After(kill, faultreg.Stall()))
		if nth%4 == 0 {
			do = faultreg.After(kill, faultreg.Stall())
		}
		w.down.Inject(faultreg.Rule{Nth: nth, Do: do})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		started <- cmd.Process
		err := cmd.Wait()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if more = ok && exit.ExitCode() == -1; !more && err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		w.quiet()
		for tag := range now.tags {
			is, err := w.holds(repo, tag)
			if err != nil || (is != old.tags[tag].Digest() && is != now.tags[tag].Digest()) {
				broken++
				t.Errorf("killed at request %d: %s is %q: %v", nth, tag, is, err)
			}
		}
		points++
		out.Reset()
		err = w.program(t.Context(), t, &out, repo).Run()
		if err := errors.Join(err, w.complete(repo, now)); err != nil {
			lost++
			t.Errorf("after being killed at request %d: %v\n%s", nth, err, out.String())
		}
	}
	faults.Covers(t, "F75")
	faults.Measured(t, faults.CrashPoints, points)
	faults.Measured(t, faults.BrokenTags, broken)
	faults.Measured(t, faults.Unconverged, lost)
}

// What a killed process has spooled, the next one removes: the directory may be a volume
// that outlives the container.
func TestKilledProcessLeavesItsSpoolToTheNext(t *testing.T) {
	w, now := registryWorld(t), rich("new")
	second := &world{up: w.up, upURL: w.upURL, downURL: ecrlocaltest.StartRegistry(t).URL}
	if err := bring(w.upURL, "team/app", now); err != nil {
		t.Fatal(err)
	}
	file, spool := filepath.Join(t.TempDir(), "mirrors.yaml"), t.TempDir()
	mirrors := fmt.Sprintf("apiVersion: ecr-mirror-sync.io/v1alpha1\nmirrors:\n- name: app\n  from: %s/team/app\n  to: [%s/app, %s/app]\n  tags: [index, single]\n",
		w.up.Host, w.down.Host, strings.TrimPrefix(second.downURL, "http://"))
	if err := os.WriteFile(file, []byte(mirrors), 0o600); err != nil {
		t.Fatal(err)
	}
	sync := func(out *bytes.Buffer) *exec.Cmd {
		return program(t.Context(), t, out, "sync", "--config", file, "--spool-dir", spool, "--insecure-policy")
	}
	var out bytes.Buffer
	cmd := sync(&out)
	started := make(chan *os.Process, 1)
	large := string(now.tags["single"].Blobs[2].Digest())
	w.up.Inject(faultreg.Rule{
		Match: func(e faultreg.Entry) bool { return e.Kind == faultreg.BlobGet && e.Reference == large },
		Do:    faultreg.After(func() { _ = (<-started).Kill() }, faultreg.Stall()),
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started <- cmd.Process
	if err := cmd.Wait(); err == nil {
		t.Fatalf("it was not killed: %s", out.String())
	}
	w.quiet()
	if left, err := os.ReadDir(spool); err != nil || len(left) == 0 {
		t.Fatalf("the killed process has left nothing: %v", err)
	}
	out.Reset()
	if err := sync(&out).Run(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if left, err := os.ReadDir(spool); err != nil || len(left) != 0 {
		t.Errorf("%v are left: %v", left, err)
	}
	for _, at := range []*world{w, second} {
		if err := at.complete("app", now); err != nil {
			t.Error(err)
		}
	}
}

// SIGTERM while nothing moves: the process is gone at once, with its exit code, and each
// tag is what it was.
func TestTerminatedProcess(t *testing.T) {
	w, old, now := registryWorld(t), rich("old"), rich("new")
	if err := errors.Join(bring(w.upURL, "team/app", now), bring(w.downURL, "n/app", old)); err != nil {
		t.Fatal(err)
	}
	w.quiet()
	var out bytes.Buffer
	cmd := w.program(t.Context(), t, &out, "n/app")
	started, told := make(chan *os.Process, 1), make(chan time.Time, 1)
	w.up.Inject(faultreg.Rule{Kind: faultreg.BlobGet, Do: faultreg.After(func() {
		process := <-started
		told <- time.Now()
		_ = process.Signal(syscall.SIGTERM)
	}, faultreg.Stall())}, faultreg.Rule{Kind: faultreg.BlobGet, Times: -1, Do: faultreg.Stall()})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started <- cmd.Process
	err := cmd.Wait()
	took := time.Since(<-told)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 143 {
		t.Errorf("%v: %s", err, out.String())
	}
	if !strings.Contains(out.String(), "not done") {
		t.Errorf("it does not say what is left: %s", out.String())
	}
	for tag, node := range old.tags {
		if is, err := w.holds("n/app", tag); err != nil || is != node.Digest() {
			t.Errorf("%s is %q: %v", tag, is, err)
		}
	}
	faults.Covers(t, "F73", "I17")
	faults.Measured(t, faults.SIGTERMPastGrace, int(took.Milliseconds()))
}

// Secrets are in no line of the log, at its most talkative, and in no report: not the
// password, not the token it was exchanged for, not what signs the URLs that upstream
// redirects to.
func TestSecretsAreInNoSink(t *testing.T) {
	const password, signature = "canary-password", "canary-signature"
	w, now := registryWorld(t), rich("new")
	if err := bring(w.upURL, "team/app", now); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		do    faultreg.Action
		fails bool
	}{
		"all is well":              {(*faultreg.Exchange).Pass, false},
		"a redirect to nowhere":    {faultreg.Redirect(http.StatusTemporaryRedirect, "http://127.0.0.1:1/blob?X-Amz-Signature="+signature), true},
		"refused in its own words": {faultreg.Refuse(http.StatusUnauthorized, "UNAUTHORIZED", "no"), true},
		"broken":                   {faultreg.Status(http.StatusBadGateway), true},
	} {
		t.Run(name, func(t *testing.T) {
			w.quiet()
			w.up.Inject(faultreg.Rule{Kind: faultreg.ManifestHead, Do: faultreg.Status(401, "WWW-Authenticate", `Basic realm="x"`)},
				faultreg.Rule{Kind: faultreg.BlobGet, Times: -1, Do: test.do})
			var out bytes.Buffer
			cmd := w.program(t.Context(), t, &out, strings.ReplaceAll(name, " ", "-"), "--debug", "--retry-times", "1", "-o", "json", "--src-creds", "canary:"+password)
			if err := cmd.Run(); (err != nil) != test.fails {
				t.Fatalf("%v: %s", err, out.String())
			}
			shown := false
			for _, e := range w.up.Journal() {
				shown = shown || e.Authorization != ""
			}
			if !shown {
				t.Error("the password was never used")
			}
			found := strings.Count(out.String(), password) + strings.Count(out.String(), signature) + strings.Count(out.String(), "Y2FuYXJ5")
			if found > 0 {
				t.Errorf("found in\n%s", out.String())
			}
			faults.Covers(t, "F100", "I14")
			faults.Measured(t, faults.Canaries, found)
		})
	}
}
