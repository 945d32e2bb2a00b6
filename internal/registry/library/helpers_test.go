package library_test

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// authority writes the certificate of a test server where CertDir looks for it.
func authority(t *testing.T, s *httptest.Server) string {
	t.Helper()
	dir := t.TempDir()
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), block, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// loopback are settings by which hosts on loopback may do without TLS, as in Docker.
func loopback(host string) registry.Settings {
	if transport.IsLoopback(host) {
		return registry.Settings{Security: registry.Insecure}
	}
	return registry.Settings{}
}
