package ecrlocal

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
)

// Quirks says where the registry departs from a plain OCI registry. The zero value departs
// nowhere. What the control plane itself documents (paging limits, tag characters, typed
// errors) is not a quirk: it always holds.
type Quirks struct {
	// RequireAuth refuses registry requests without a token from GetAuthorizationToken.
	// Without it, requests that carry no token act for the default account and Region.
	RequireAuth bool
	// RequireRepository answers NAME_UNKNOWN to pushes into repositories that do not exist.
	// Without it, repositories appear on push.
	RequireRepository bool
	// CreateOnPush lets a matching creation template create the missing repository.
	CreateOnPush bool
	// ImmutableTags enforces each repository's tag mutability on pushes.
	ImmutableTags bool
	// RefuseSameDigest refuses to push to an immutable tag even what it already holds.
	RefuseSameDigest bool
	// OddChunkAnswers answers 201 to PATCH, with a Range that sticks at the first chunk.
	OddChunkAnswers bool
	// MinimumChunk is the size every chunk of an upload but the last must have.
	MinimumChunk int64
	// RefuseEmptyBlobs refuses blobs of zero bytes.
	RefuseEmptyBlobs bool
	// UploadInvalidOnMismatch answers BLOB_UPLOAD_INVALID, not DIGEST_INVALID, to content
	// that does not hash to the digest it was pushed under.
	UploadInvalidOnMismatch bool
	// OmitManifestLocation leaves Location out of the answer to a manifest PUT.
	OmitManifestLocation bool
	// OpaqueTagPaging lists 100 tags by default, in no lexical order, refuses more than 1000
	// and continues by an opaque token in an absolute Link.
	OpaqueTagPaging bool
	// ConvertByAccept converts between Docker schema 2 and OCI image manifests when a pull by
	// tag does not accept the stored type.
	ConvertByAccept bool
	// RestrictMounts mounts a blob only when the account has blob mounting enabled, a manifest
	// of the source repository references the blob, and both repositories are encrypted alike.
	RestrictMounts bool
	// RedirectBlobs answers a blob GET with a redirect to a signed URL outside /v2/.
	RedirectBlobs bool
	// StrictManifests refuses with 405 UNSUPPORTED manifests of no known type and those whose
	// media types are not media types.
	StrictManifests bool
	// RefuseReferrers refuses with 405 UNSUPPORTED manifests that have both an artifact type
	// and a subject. It is seen only sometimes, so [ECR] leaves it off.
	RefuseReferrers bool
	// RefuseDeletions refuses to delete blobs, and images that an index names.
	RefuseDeletions bool
	// RefusePublicBlobHeads refuses HEAD on the blobs of public repositories.
	RefusePublicBlobHeads bool
	// Throttle meters operations by token buckets; see [Throttle].
	Throttle bool
}

// ECR is how Amazon ECR behaves.
func ECR() Quirks {
	return Quirks{
		RequireAuth:             true,
		RequireRepository:       true,
		CreateOnPush:            true,
		ImmutableTags:           true,
		RefuseSameDigest:        true,
		OddChunkAnswers:         true,
		MinimumChunk:            5 << 20,
		RefuseEmptyBlobs:        true,
		UploadInvalidOnMismatch: true,
		OmitManifestLocation:    true,
		OpaqueTagPaging:         true,
		ConvertByAccept:         true,
		RestrictMounts:          true,
		RedirectBlobs:           true,
		StrictManifests:         true,
		RefuseDeletions:         true,
		RefusePublicBlobHeads:   true,
		Throttle:                true,
	}
}

// PlainOCI is how a plain registry behaves: no authentication, no throttling, repositories
// appear on push, standard answers.
func PlainOCI() Quirks { return Quirks{} }

// ParseProfile returns the quirks of the profile called name: "ecr" or "oci".
func ParseProfile(name string) (Quirks, error) {
	switch name {
	case "ecr":
		return ECR(), nil
	case "oci":
		return PlainOCI(), nil
	default:
		return Quirks{}, fmt.Errorf("unknown profile %q: want ecr or oci", name)
	}
}

// Set changes one quirk by name: the field's, in lower case with hyphens, such as
// "redirect-blobs". Switches take on and off, sizes take bytes.
func (q *Quirks) Set(name, value string) error {
	fields := reflect.ValueOf(q).Elem()
	for i := range fields.NumField() {
		if hyphenated(fields.Type().Field(i).Name) == name {
			return setQuirk(fields.Field(i), name, value)
		}
	}
	return fmt.Errorf("unknown quirk %q: want one of %s", name, strings.Join(QuirkNames(), ", "))
}

func setQuirk(field reflect.Value, name, value string) error {
	if field.Kind() == reflect.Int64 {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("quirk %s: %q is not a number of bytes", name, value)
		}
		field.SetInt(n)
		return nil
	}
	if value != "on" && value != "off" {
		return fmt.Errorf("quirk %s: want on or off, not %q", name, value)
	}
	field.SetBool(value == "on")
	return nil
}

// QuirkNames lists the names that [Quirks.Set] knows.
func QuirkNames() []string {
	var names []string
	for field := range reflect.TypeFor[Quirks]().Fields() {
		names = append(names, hyphenated(field.Name))
	}
	return names
}

// hyphenated turns RedirectBlobs into redirect-blobs.
func hyphenated(field string) string {
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
