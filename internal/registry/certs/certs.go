// Package certs makes the TLS configuration of one registry host: whom it trusts, what
// it shows of itself, and which version it insists on. Both transports use it, so that
// a certificate means the same to both.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.podman.io/image/v5/pkg/tlsclientconfig"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Config returns the TLS configuration that the settings mean for host, as references
// write it. It trusts the authorities that they name beside the system's, and shows the
// client certificate that they hold. It verifies: what goes without is the transport's
// matter. Every error is final, and says which file is at fault.
func Config(host string, s registry.Settings) (*tls.Config, error) {
	config := &tls.Config{MinVersion: max(s.MinVersion, tls.VersionTLS12)}
	if err := configure(config, host, s); err != nil {
		return nil, fmt.Errorf("certificates for %s: %w: %w", host, err, registry.ErrPermanent)
	}
	return config, nil
}

// configure reads everything that the settings name.
func configure(config *tls.Config, host string, s registry.Settings) error {
	// First of all: where several client certificates fit, the first one is shown.
	if s.Cert != "" || s.Key != "" {
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return fmt.Errorf("%s and %s: %w", s.Cert, s.Key, err)
		}
		config.Certificates = append(config.Certificates, pair)
	}
	if err := useDirectory(config, host, s); err != nil {
		return err
	}
	if s.CA == "" {
		return nil
	}
	return trust(config, s.CA)
}

// useDirectory reads the directory that the settings name, or else, where they name
// nothing at all, that of docker and podman.
func useDirectory(config *tls.Config, host string, s registry.Settings) error {
	dir := s.CertDir
	switch {
	case dir != "":
		if _, err := os.ReadDir(dir); err != nil { // which the library takes for an empty one
			return err
		}
	case s.CA != "" || s.Cert != "":
		return nil
	default:
		var err error
		if dir, err = usual(host, s.CertFolders); dir == "" || err != nil {
			return err
		}
	}
	if err := tlsclientconfig.SetupCertificates(dir, config); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// usual returns the first of the folders' directories for host, "" where there is none.
// As with docker and podman its name is the host as references write it, with the port
// if they have one. What may not be looked at is passed over, as they do.
func usual(host string, folders []string) (string, error) {
	for _, folder := range folders {
		dir := filepath.Join(folder, host)
		_, err := os.ReadDir(dir)
		switch {
		case err == nil:
			return dir, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
			return "", err
		}
	}
	return "", nil
}

// trust adds the authorities of a PEM file to those that config trusts.
func trust(config *tls.Config, ca string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	if config.RootCAs == nil {
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			return fmt.Errorf("the system's certificates: %w", err)
		}
	}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate in PEM", ca)
	}
	return nil
}

// Folders returns where docker and podman keep a directory for each registry, the
// user's before the machine's. The environment is looked up with env.
//
// https://github.com/containers/image/blob/main/docs/containers-certs.d.5.md
// https://docs.docker.com/engine/security/certificates/
func Folders(env func(string) (string, bool)) []string {
	var folders []string
	home, _ := env("HOME")
	own, _ := env("XDG_CONFIG_HOME")
	if own == "" && home != "" {
		own = filepath.Join(home, ".config")
	}
	if own != "" {
		folders = append(folders,
			filepath.Join(own, "containers", "certs.d"),
			filepath.Join(own, "docker", "certs.d")) // docker without root
	}
	if home != "" {
		folders = append(folders, filepath.Join(home, ".docker", "certs.d")) // Docker Desktop
	}
	return append(folders, "/etc/containers/certs.d", "/etc/docker/certs.d")
}
