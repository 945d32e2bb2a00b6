package library

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/docker/distribution/registry/api/errcode"
	"go.podman.io/image/v5/docker"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// translate gives the library's errors the kinds of package registry, as far as they
// can be told apart, and a text that is safe to show. A refusal of a credential that was
// too old is passed on to the provider.
func (o Options) translate(ctx context.Context, repo ref.Repository, used auth.Credential, err error) error {
	if err == nil {
		return nil
	}
	safe := redact.Error(err)
	kind := kindOf(err)
	if kind == nil || errors.Is(err, kind) {
		return safe
	}
	err = fmt.Errorf("%w: %w", kind, safe)
	if errors.Is(kind, registry.ErrDenied) && strings.Contains(strings.ToLower(safe.Error()), "expired") && o.renewed(ctx, repo, used) {
		return errors.Join(registry.ErrExpired, err)
	}
	return err
}

// renewed reports whether the provider has another credential than the refused one.
func (o Options) renewed(ctx context.Context, repo ref.Repository, used auth.Credential) bool {
	if used.Anonymous() {
		return false
	}
	who := auth.At(o.Credentials, repo.Host, repo.Path)
	who.Refused(repo.Host, used)
	fresh, err := who.Credential(ctx, repo.Host)
	return err == nil && fresh != used
}

func kindOf(err error) error {
	if rejected, ok := errors.AsType[imagetypes.ManifestTypeRejectedError](err); ok {
		return kindOf(rejected.Err) // it does not unwrap
	}
	if errors.Is(err, docker.ErrTooManyRequests) {
		return registry.ErrThrottled
	}
	if _, ok := errors.AsType[docker.ErrUnauthorizedForCredentials](err); ok {
		return registry.ErrDenied
	}
	// A code whose message is its usual one arrives as the code itself.
	var coded errcode.ErrorCoder
	if errors.As(err, &coded) {
		return kindOfCode(coded, err)
	}
	if status, ok := errors.AsType[docker.UnexpectedHTTPStatusError](err); ok {
		return kindOfStatus(status.StatusCode)
	}
	if status := statusInText.FindStringSubmatch(err.Error()); status != nil {
		code, _ := strconv.Atoi(status[1]) // three digits
		return kindOfStatus(code)
	}
	return nil
}

// statusInText finds the status of an answer whose body was no error of the
// specification. The library has a type for it, which it does not export.
var statusInText = regexp.MustCompile(`\bStatusCode: ([1-5]\d\d),`)

func kindOfStatus(status int) error {
	switch {
	case status == http.StatusTooManyRequests:
		return registry.ErrThrottled
	case status == http.StatusNotFound:
		return registry.ErrNotFound
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return registry.ErrDenied
	case status == http.StatusMethodNotAllowed:
		return registry.ErrUnsupported
	case status == http.StatusRequestTimeout:
		return nil
	case status >= 400 && status < 500:
		return registry.ErrRefused
	}
	return nil
}

// kindOfCode reads the distribution specification's error codes. Those that the library
// does not know arrive as UNKNOWN, with their message.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
func kindOfCode(coded errcode.ErrorCoder, err error) error {
	if said, ok := errors.AsType[errcode.Error](err); ok && strings.Contains(strings.ToLower(said.Message), "immutable") {
		return registry.ErrImmutable // the rest of the text may name a repository
	}
	switch coded.ErrorCode().Descriptor().Value {
	case "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN":
		return registry.ErrNotFound
	case "DENIED", "UNAUTHORIZED":
		return registry.ErrDenied
	case "TOOMANYREQUESTS":
		return registry.ErrThrottled
	case "UNSUPPORTED":
		return registry.ErrUnsupported
	case "MANIFEST_INVALID", "NAME_INVALID", "TAG_INVALID", "SIZE_INVALID", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN":
		return registry.ErrRefused
	}
	return nil
}
