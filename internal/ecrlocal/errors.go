package ecrlocal

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
)

// apiError is a failure in the control plane's vocabulary. The registry face translates it
// with [registryErrorOf], so that one rule has one cause and two spellings.
type apiError struct {
	code    string
	message string
	status  int            // 0 means 400
	fields  map[string]any // further members of the exception
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func newError(code, format string, args ...any) *apiError {
	return &apiError{code: code, message: fmt.Sprintf(format, args...)}
}

func errInvalidParameter(format string, args ...any) *apiError {
	return newError("InvalidParameterException", format, args...)
}

// errConstraint is the service's usual wording for a parameter outside its limits.
func errConstraint(parameter, constraint string) *apiError {
	return errInvalidParameter("Invalid parameter at '%s' failed to satisfy constraint: '%s'", parameter, constraint)
}

func errRepositoryNotFound(name, account string) *apiError {
	return newError("RepositoryNotFoundException",
		"The repository with name '%s' does not exist in the registry with id '%s'", name, account)
}

// registryError is a failure in the registry protocol's vocabulary.
type registryError struct {
	status  int
	code    string
	message string
	header  http.Header // set on the answer; may be nil
}

func (e *registryError) Error() string { return e.code + ": " + e.message }

func newRegistryError(status int, code, format string, args ...any) *registryError {
	return &registryError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// registryErrorOf says how the registry reports err. Exceptions without a known twin, and
// errors that are no exceptions, become 500 UNKNOWN.
func registryErrorOf(err error) *registryError {
	if re, ok := errors.AsType[*registryError](err); ok {
		return re
	}
	ae, ok := errors.AsType[*apiError](err)
	if !ok {
		return newRegistryError(http.StatusInternalServerError, "UNKNOWN", "%s", err)
	}
	status, code := registryTwin(ae.code)
	return newRegistryError(status, code, "%s", ae.message)
}

// registryTwin is the table of exceptions and their registry spelling.
func registryTwin(exception string) (status int, code string) {
	switch exception {
	case "RepositoryNotFoundException":
		return http.StatusNotFound, "NAME_UNKNOWN"
	case "ImageNotFoundException":
		return http.StatusNotFound, "MANIFEST_UNKNOWN"
	case "ImageTagAlreadyExistsException":
		return http.StatusBadRequest, "TAG_INVALID"
	case "ImageDigestDoesNotMatchException":
		return http.StatusBadRequest, "MANIFEST_INVALID"
	case "LayersNotFoundException", "ReferencedImagesNotFoundException":
		return http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"
	case "LayerInaccessibleException":
		return http.StatusNotFound, "BLOB_UNKNOWN"
	case "UploadNotFoundException":
		return http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"
	case "EmptyUploadException", "InvalidLayerException", "LayerPartTooSmallException":
		return http.StatusBadRequest, "BLOB_UPLOAD_INVALID"
	case "LimitExceededException":
		return http.StatusForbidden, "DENIED"
	case "AccessDeniedException":
		return http.StatusForbidden, "DENIED"
	case "ThrottlingException":
		return http.StatusTooManyRequests, "TOOMANYREQUESTS"
	case "InvalidParameterException":
		return http.StatusMethodNotAllowed, "UNSUPPORTED"
	default:
		return http.StatusInternalServerError, "UNKNOWN"
	}
}

// writeRegistryError answers with err as the registry protocol spells errors.
func writeRegistryError(w http.ResponseWriter, err error) {
	re := registryErrorOf(err)
	maps.Copy(w.Header(), re.header)
	body, marshalErr := json.Marshal(map[string]any{
		"errors": []map[string]string{{"code": re.code, "message": re.message}},
	})
	if marshalErr != nil { // two strings always marshal
		panic(marshalErr)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(re.status)
	_, _ = w.Write(body) // net/http drops it on HEAD
}
