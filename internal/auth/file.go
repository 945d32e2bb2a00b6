package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"go.podman.io/image/v5/pkg/docker/config"
	imagetypes "go.podman.io/image/v5/types"
)

// File provides what docker and podman keep in their auth files, credential helpers
// and stores included. The zero File reads the usual places; a File with a path reads that one.
type File struct {
	path string
}

// OpenFile returns the auth file at path. Unlike the library beneath, which takes a
// missing file for an empty one and an entry it cannot read for none, it returns an
// error: a mistake must not silently mean anonymity. No credential helper is run yet.
func OpenFile(path string) (File, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return File{}, fmt.Errorf("auth file: %w", err)
	}
	if err := validate(raw); err != nil {
		return File{}, fmt.Errorf("auth file %s: %w", path, err)
	}
	return File{path: path}, nil
}

// validate looks for what the library would pass over. Its errors never quote an entry.
func validate(raw []byte) error {
	var file struct {
		Auths map[string]struct {
			Auth string `json:"auth"`
		} `json:"auths"`
		Helpers map[string]string `json:"credHelpers"`
		Store   string            `json:"credsStore"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return err
	}
	if file.Auths == nil && file.Helpers == nil && file.Store == "" {
		return errors.New(`it has none of "auths", "credHelpers" and "credsStore"`)
	}
	for host, entry := range file.Auths {
		decoded, err := base64.StdEncoding.DecodeString(entry.Auth)
		if err != nil || len(decoded) > 0 && !strings.Contains(string(decoded), ":") {
			return fmt.Errorf("the entry of %s is not user:password in base64", host)
		}
	}
	return nil
}

// DefaultFiles reads the auth files docker and podman read by themselves.
func DefaultFiles() File { return File{} }

// Credential looks host up, in the file as it is now. A host the files do not name is
// anonymous; a file that has vanished since OpenFile is an error.
func (f File) Credential(ctx context.Context, host string) (Credential, error) {
	return f.lookup(ctx, host, host)
}

// lookup is Credential for a place at host: itself, or a repository.
func (f File) lookup(ctx context.Context, host, place string) (Credential, error) {
	sys := &imagetypes.SystemContext{}
	if f.path != "" {
		if _, err := os.Stat(f.path); err != nil {
			return Credential{}, fmt.Errorf("auth file: %w", err)
		}
		sys.AuthFilePath = f.path
		// Else the machine's registries.conf would add credential helpers of its own.
		sys.SystemRegistriesConfPath = os.DevNull
		sys.SystemRegistriesConfDirPath = noDirectory
	}
	if helper := f.helperOf(host); helper != "" {
		return ask(ctx, program(helper), host)
	}
	found, err := config.GetCredentials(sys, place)
	if err != nil {
		return Credential{}, err
	}
	if found == (imagetypes.DockerAuthConfig{}) {
		return f.stored(ctx, host)
	}
	return Credential{
		Username:      found.Username,
		Password:      Secret(found.Password),
		IdentityToken: Secret(found.IdentityToken),
	}, nil
}

// noDirectory is where the library finds no configuration. It has to be absent: the
// library takes a path that is no directory for an error.
const noDirectory = "/nonexistent/ecr-mirror-sync"

// Refused does nothing: the files are read at each call.
func (File) Refused(string, Credential) {}
