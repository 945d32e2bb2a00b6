package faultreg

import (
	"net/http"
	"strings"
)

// Kind is what a request asks of a registry.
type Kind string

// The kinds. Requests that no registry knows are Other.
const (
	Ping              Kind = "ping"
	Token             Kind = "token"
	Tags              Kind = "tags"
	Catalog           Kind = "catalog"
	ManifestHead      Kind = "manifest-head"
	ManifestGet       Kind = "manifest-get"
	ManifestPut       Kind = "manifest-put" // under a tag
	ManifestPutDigest Kind = "manifest-put-digest"
	Referrers         Kind = "referrers"
	BlobHead          Kind = "blob-head"
	BlobGet           Kind = "blob-get"
	UploadPost        Kind = "upload-post"
	UploadPatch       Kind = "upload-patch"
	UploadPut         Kind = "upload-put"
	Mount             Kind = "mount"
	Delete            Kind = "delete" // of a tag, manifest, blob or upload
	API               Kind = "api"    // the control plane of AWS
	Other             Kind = "other"
)

// Writes reports whether requests of this kind can change what a registry serves. For
// those of the control plane the operation says so.
func (k Kind) Writes() bool {
	switch k {
	case ManifestPut, ManifestPutDigest, UploadPost, UploadPatch, UploadPut, Mount, Delete:
		return true
	default:
		return false
	}
}

// An Entry is one request in the journal.
type Entry struct {
	N          int // of the request, from 1
	Kind       Kind
	Repository string
	Reference  string // the tag or digest; for API the operation
	Method     string
	Path       string

	Host          string // that the client believes to speak to
	Authorization string // as it came
	Bytes         int64  // of the request's body, -1 where it was not announced

	Failed bool // a rule was applied, or the registry was dead
	Status int  // of the answer; 0 where there was none, or is none yet
}

// describe reads a request.
func describe(r *http.Request) Entry {
	e := Entry{
		Kind: Other, Method: r.Method, Path: r.URL.Path, Host: r.Host,
		Authorization: r.Header.Get("Authorization"), Bytes: r.ContentLength,
	}
	rest, v2 := strings.CutPrefix(r.URL.Path, "/v2/")
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		e.Kind = API
		_, e.Reference, _ = strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	case !v2:
		if r.URL.Query().Has("service") || r.URL.Query().Has("scope") || r.FormValue("grant_type") != "" {
			e.Kind = Token
		}
	case rest == "":
		e.Kind = Ping
	case rest == "_catalog":
		e.Kind = Catalog
	default:
		e.place(r, rest)
	}
	return e
}

// place reads the path of what a repository is asked, from its end: a repository may be
// called blobs.
func (e *Entry) place(r *http.Request, rest string) {
	for _, part := range []struct {
		infix string
		kinds map[string]Kind
	}{
		{"/blobs/uploads/", map[string]Kind{"POST": UploadPost, "PATCH": UploadPatch, "PUT": UploadPut, "DELETE": Delete}},
		{"/manifests/", map[string]Kind{"HEAD": ManifestHead, "GET": ManifestGet, "PUT": ManifestPut, "DELETE": Delete}},
		{"/blobs/", map[string]Kind{"HEAD": BlobHead, "GET": BlobGet, "DELETE": Delete}},
		{"/referrers/", map[string]Kind{"GET": Referrers}},
		{"/tags/", map[string]Kind{"GET": Tags}},
	} {
		at := strings.LastIndex(rest, part.infix)
		kind, known := part.kinds[r.Method]
		if at < 0 || !known || strings.Contains(rest[at+len(part.infix):], "/") {
			continue
		}
		e.Repository, e.Reference = rest[:at], rest[at+len(part.infix):]
		e.Kind = kind
		switch {
		case kind == UploadPost && r.URL.Query().Has("mount"):
			e.Kind, e.Reference = Mount, r.URL.Query().Get("mount")
		case kind == UploadPut || kind == UploadPost:
			e.Reference = r.URL.Query().Get("digest")
		case kind == ManifestPut && strings.Contains(e.Reference, ":"):
			e.Kind = ManifestPutDigest
		}
		return
	}
}
