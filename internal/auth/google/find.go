package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
)

const keyVariable = "GOOGLE_APPLICATION_CREDENTIALS"

// errNoIdentity means that there is nothing in any of the places where application
// default credentials are looked for.
var errNoIdentity = fmt.Errorf("no Google credentials: none in %s or of gcloud, and no metadata server here; "+
	"set %[1]s, run gcloud auth application-default login, or give the registry a key in the configuration: %w", keyVariable, failure.ErrDenied)

// findDefault looks for application default credentials. Where the library finds none it
// is told apart from finding what cannot be read: the second is somebody's mistake.
func findDefault(ctx context.Context) (*google.Credentials, error) {
	found, err := google.FindDefaultCredentials(ctx, scope)
	switch {
	case err == nil:
		return found, nil
	case os.Getenv(keyVariable) == "" && !gcloudHasOne() && !metadata.OnGCE():
		return nil, errNoIdentity
	}
	return nil, fmt.Errorf("no Google application default credentials: %w: %w", err, failure.ErrPermanent)
}

// gcloudHasOne reports whether gcloud keeps application default credentials here.
func gcloudHasOne() bool {
	home, err := os.UserHomeDir()
	dir := filepath.Join(home, ".config")
	if runtime.GOOS == "windows" {
		dir, err = os.Getenv("APPDATA"), nil
	}
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(dir, "gcloud", "application_default_credentials.json"))
	return err == nil
}

// tokenError words a token service's refusal, and tells what is final from an outage. It
// leaves out the answer's body where that is no OAuth2 error.
func tokenError(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || refused.Response == nil {
		return fmt.Errorf("no Google access token: %w", err)
	}
	var body struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	said := "the token service answers " + refused.Response.Status
	if json.Unmarshal(refused.Body, &body) == nil && body.Code != "" {
		said = strings.TrimSuffix(body.Code+": "+body.Description, ": ")
	}
	if final(refused.Response.StatusCode) {
		return fmt.Errorf("no Google access token: %s: %w", said, failure.ErrDenied)
	}
	return fmt.Errorf("no Google access token: %s", said)
}

func final(status int) bool {
	return status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}
