package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
)

// helperTime is how long a credential helper may take. One that asks somebody at a desk
// for a password would keep a CronJob waiting for ever.
const helperTime = 30 * time.Second

// program is the name of a credential helper's program.
func program(helper string) string { return "docker-credential-" + helper }

// ask runs a credential helper. Nothing of what it prints is shown or kept in an error: it
// may be the secret. A server that the helper does not know is anonymous.
func ask(ctx context.Context, program, server string) (Credential, error) {
	return askWithin(ctx, helperTime, program, server)
}

func askWithin(ctx context.Context, limit time.Duration, program, server string) (Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	asked := &asked{cmd: exec.CommandContext(ctx, program)}
	found, err := client.Get(asked.with, server)
	switch {
	case err == nil && found.Username == "<token>":
		return Credential{Username: found.Username, IdentityToken: Secret(found.Secret)}, nil
	case err == nil:
		return Credential{Username: found.Username, Password: Secret(found.Secret)}, nil
	case credentials.IsErrCredentialsNotFound(err):
		return Credential{}, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Credential{}, fmt.Errorf("%s gave no answer about %s within %s", program, server, limit)
	case ctx.Err() != nil:
		return Credential{}, context.Cause(ctx)
	case asked.err != nil:
		return Credential{}, fmt.Errorf("%s about %s: %w (see what it prints with: echo %s | %s get)", program, server, asked.err, server, program)
	}
	return Credential{}, fmt.Errorf("%s about %s: its answer is no credential in JSON", program, server)
}

// asked is one run of a helper, as its protocol's client sees it. The client's own way to
// run one passes on what it prints to standard error, and waits for as long as it takes.
type asked struct {
	cmd *exec.Cmd
	err error // of the run
}

func (a *asked) with(args ...string) client.Program {
	a.cmd.Args = append(a.cmd.Args, args...)
	a.cmd.WaitDelay = time.Second // for a helper's own children, which hold its output
	return a
}

// Input gives the helper its standard input.
func (a *asked) Input(in io.Reader) { a.cmd.Stdin = in }

// Output runs the helper, and returns its standard output.
func (a *asked) Output() ([]byte, error) {
	var out bytes.Buffer
	a.cmd.Stdout = &out
	a.err = a.cmd.Run()
	return out.Bytes(), a.err
}

// helperOf returns the helper that the auth files name for a host alone, "" where the
// library beneath is to look: it knows no deadline, and shows what helpers print.
func (f File) helperOf(host string) string {
	for _, path := range f.paths() {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var file struct {
			Auths   map[string]json.RawMessage `json:"auths"`
			Helpers map[string]string          `json:"credHelpers"`
		}
		if json.Unmarshal(raw, &file) != nil {
			return "" // the library says so
		}
		if helper, ok := file.Helpers[host]; ok {
			return helper
		}
		for place := range file.Auths {
			if place == host || strings.HasPrefix(place, host+"/") {
				return ""
			}
		}
	}
	return ""
}

// paths are the files to read, in the library's order:
// https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
func (f File) paths() []string {
	if f.path != "" {
		return []string{f.path}
	}
	if named := os.Getenv("REGISTRY_AUTH_FILE"); named != "" {
		return []string{named}
	}
	var paths []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		paths = append(paths, filepath.Join(dir, "containers", "auth.json"))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		paths = append(paths, filepath.Join(dir, "containers", "auth.json"))
	}
	return append(paths, dockersFile())
}
