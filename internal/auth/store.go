package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// stored asks the program that an auth file names under credsStore, as docker does for
// hosts of which the file has nothing else. The library beneath does not know that key.
func (f File) stored(ctx context.Context, host string) (Credential, error) {
	helper, err := f.store()
	if helper == "" || err != nil {
		return Credential{}, err
	}
	if _, err := exec.LookPath(program(helper)); err != nil {
		if f.path == "" { // of a file that nobody named, such as one that came from another machine
			return Credential{}, nil
		}
		return Credential{}, fmt.Errorf("auth file %s: credsStore: %w", f.path, err)
	}
	return ask(ctx, program(helper), storedAs(host))
}

// store returns the credsStore of the auth file, or of docker's own; "" where there is none.
func (f File) store() (string, error) {
	path := f.path
	if path == "" {
		path = dockersFile()
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && f.path == "" {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("auth file: %w", err)
	}
	var file struct {
		Store string `json:"credsStore"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return "", fmt.Errorf("auth file %s: %w", path, err)
	}
	return file.Store, nil
}

func dockersFile() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker", "config.json")
}

// storedAs is what docker calls a host in a store.
func storedAs(host string) string {
	if host == "docker.io" {
		return "https://index.docker.io/v1/"
	}
	return host
}
