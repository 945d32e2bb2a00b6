package ecrlocal

import (
	"encoding/json"
	"hash/fnv"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
)

// route is what a registry request asks for.
type route struct {
	op        string // as in [Entry]
	action    string // the control-plane action it is metered and authorized as; may be ""
	alias     string // what precedes the name in paths: a public registry's alias and a slash
	name      string // repository
	reference string // tag, digest or upload id
}

// serveRegistry answers a request under /v2/, for one registry or for all.
func (s *Server) serveRegistry(x *exchange, r *http.Request, only *registryKey) {
	rt := parseRoute(r)
	x.describe(func(e *Entry) {
		e.Plane, e.Op, e.Repository, e.Reference = PlaneRegistry, rt.op, rt.name, rt.reference
	})
	x.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")

	after, proceed := s.faults.inject(x, r, func(f *Fault) { writeRegistryError(x, f.registryError()) })
	if !proceed {
		return
	}
	defer after()
	if err := s.handleRegistry(x, r, rt, only); err != nil {
		if registryErrorOf(err).status >= http.StatusInternalServerError {
			s.log.Error("registry request failed", zap.String("op", rt.op), zap.String("path", r.URL.Path), zap.Error(err))
		}
		writeRegistryError(x, err)
	}
}

// handleRegistry authenticates, admits and dispatches a registry request. Handlers either
// answer or return an error, never both.
func (s *Server) handleRegistry(x *exchange, r *http.Request, rt route, only *registryKey) error {
	g, err := s.grantFor(r, &rt, only)
	x.describe(func(e *Entry) { e.Account, e.Region, e.Principal = g.target.Account, g.target.Region, g.arn })
	if err != nil {
		return err
	}
	if rt.op == "ping" {
		x.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = x.Write([]byte("{}")) // the client may be gone
		return nil
	}
	handle, ok := s.handlers[rt.op]
	if !ok {
		return newRegistryError(http.StatusNotFound, "UNSUPPORTED", "the registry has no %s %s", r.Method, r.URL.Path)
	}
	if rt.name != "" && !s.nameValid(rt.name) {
		return newRegistryError(http.StatusBadRequest, "NAME_INVALID", "invalid repository name %q", rt.name)
	}
	if rt.action != "" {
		if err := s.admit(g.identity, rt.action, g.target, rt.name); err != nil {
			return err
		}
	}
	return handle(s, &pull{exchange: x, r: r, grant: g, route: rt})
}

// pull is one authenticated registry request, of whatever kind, and where its answer goes.
type pull struct {
	*exchange
	r *http.Request
	grant
	route
}

// registryHandlers is every kind of request the registry answers, but ping.
func registryHandlers() map[string]func(*Server, *pull) error {
	return map[string]func(*Server, *pull) error{
		"catalog":         (*Server).getCatalog,
		"tags-list":       (*Server).getTags,
		"referrers":       (*Server).getReferrers,
		"manifest-head":   (*Server).getManifest,
		"manifest-get":    (*Server).getManifest,
		"manifest-put":    (*Server).putManifest,
		"manifest-delete": (*Server).deleteManifest,
		"blob-head":       (*Server).headBlob,
		"blob-get":        (*Server).getBlob,
		"blob-delete":     (*Server).deleteBlob,
		"mount":           (*Server).mountBlob,
		"upload-post":     (*Server).startUpload,
		"upload-get":      (*Server).uploadStatus,
		"upload-patch":    (*Server).patchUpload,
		"upload-put":      (*Server).finishUpload,
		"upload-delete":   (*Server).cancelUpload,
	}
}

// parseRoute reads method and path. The longest repository name wins, since names may contain
// "blobs" and "manifests".
func parseRoute(r *http.Request) route {
	rest := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/v2"), "/")
	method := strings.ToLower(r.Method)
	switch rest {
	case "":
		return route{op: "ping"}
	case "_catalog":
		return route{op: "catalog", action: "ecr:DescribeRepositories"}
	}
	if name, ok := strings.CutSuffix(rest, "/tags/list"); ok && method == "get" {
		return route{op: "tags-list", action: "ecr:ListImages", name: name}
	}
	if name, id, ok := cutLast(rest, "/blobs/uploads/"); ok {
		return uploadRoute(r, method, name, id)
	}
	if name, ok := strings.CutSuffix(rest, "/blobs/uploads"); ok {
		return uploadRoute(r, method, name, "")
	}
	for _, kind := range []string{"manifest", "blob", "referrer"} {
		name, reference, ok := cutLast(rest, "/"+kind+"s/")
		if !ok || strings.Contains(reference, "/") {
			continue
		}
		op := kind + "-" + method
		if kind == "referrer" && method == "get" {
			op = "referrers"
		}
		return route{op: op, action: twinAction(op), name: name, reference: reference}
	}
	return route{op: "unknown"}
}

func uploadRoute(r *http.Request, method, name, id string) route {
	op := "upload-" + method
	reference := id
	if method == "post" && r.URL.Query().Get("mount") != "" {
		op, reference = "mount", r.URL.Query().Get("mount")
	}
	return route{op: op, action: twinAction(op), name: name, reference: reference}
}

// twinAction is the control-plane action that a kind of registry request is metered as.
func twinAction(op string) string {
	switch op {
	case "manifest-head", "manifest-get":
		return "ecr:BatchGetImage"
	case "manifest-put":
		return "ecr:PutImage"
	case "manifest-delete":
		return "ecr:BatchDeleteImage"
	case "blob-head":
		return "ecr:BatchCheckLayerAvailability"
	case "blob-get":
		return "ecr:GetDownloadUrlForLayer"
	case "upload-post", "mount":
		return "ecr:InitiateLayerUpload"
	case "upload-patch":
		return "ecr:UploadLayerPart"
	case "upload-put":
		return "ecr:CompleteLayerUpload"
	case "referrers":
		return "ecr:ListImageReferrers"
	default:
		return ""
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+len(sep):], true
}

// repo finds the repository of the request. The caller holds mu.
func (s *Server) repo(p *pull) (*repository, error) {
	return s.state.registry(p.target).repository(p.name)
}

// nameValid reports whether a repository may be called name here. Only ECR insists on two
// characters.
func (s *Server) nameValid(name string) bool {
	return repositoryNameValid(name) || (!s.quirks.RequireRepository && len(name) == 1 && repositoryNamePattern.MatchString(name))
}

// respondJSON answers 200 with v.
func (p *pull) respondJSON(contentType string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	p.Header().Set("Content-Type", contentType)
	p.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	_, _ = p.Write(raw) // the client may be gone
	return nil
}

// url is the address of something in the request's repository.
func (p *pull) url(path string) string { return baseURL(p.r) + "/v2/" + p.alias + p.name + path }

// tagPage is the size of a tags/list page when none is asked for, and the most there is.
const (
	defaultTagPage = 100
	maxTagPage     = 1000
)

// listOrder is the order in which ECR lists names: none a client could rely on.
func listOrder(name string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash never fails
	return strconv.FormatUint(h.Sum64(), 36) + " " + name
}

func (s *Server) getTags(p *pull) error {
	tags, err := s.activeTags(p)
	if err != nil {
		return err
	}
	page, err := s.pageOfNames(p, tags)
	if err != nil {
		return err
	}
	contentType := "application/json"
	if s.quirks.OpaqueTagPaging {
		contentType = "text/plain; charset=utf-8"
	}
	return p.respondJSON(contentType, map[string]any{"name": p.name, "tags": page})
}

// activeTags returns the repository's tags but those of archived images, in no order.
func (s *Server) activeTags(p *pull) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repo(p)
	if err != nil {
		return nil, err
	}
	var tags []string
	for tag, dgst := range repo.Tags {
		if !repo.Images[dgst].Archived {
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

func (s *Server) getCatalog(p *pull) error {
	s.mu.Lock()
	names := s.state.registry(p.target).names()
	s.mu.Unlock()
	page, err := s.pageOfNames(p, names)
	if err != nil {
		return err
	}
	return p.respondJSON("application/json", map[string]any{"repositories": page})
}

// pageOfNames cuts the page a listing request asks for and sets the Link to the next one.
func (s *Server) pageOfNames(p *pull, names []string) ([]string, error) {
	if s.quirks.OpaqueTagPaging {
		return s.opaquePage(p, names)
	}
	return plainPage(p, names)
}

// opaquePage pages as ECR does: limited sizes, a token for last, an absolute Link.
func (s *Server) opaquePage(p *pull, names []string) ([]string, error) {
	request := pageRequest{op: p.op + " " + p.name, byDefault: defaultTagPage, most: maxTagPage}
	query := p.r.URL.Query()
	if text := query.Get("n"); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, errConstraint("maxResults", "Member must be a number")
		}
		size := int32(n)
		request.size = &size
	}
	if last := query.Get("last"); last != "" {
		request.token = &last
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(listOrder(a), listOrder(b)) })
	page, next, err := paginate(s, request, names, listOrder)
	if err != nil {
		return nil, err
	}
	if next != nil {
		more := url.Values{"last": {*next}}
		if n := query.Get("n"); n != "" {
			more.Set("n", n)
		}
		p.Header().Set("Link", "<"+baseURL(p.r)+p.r.URL.Path+"?"+more.Encode()+`>; rel="next"`)
	}
	return append([]string{}, page...), nil
}

// plainPage pages as the OCI distribution specification says.
func plainPage(p *pull, names []string) ([]string, error) {
	query := p.r.URL.Query()
	slices.Sort(names)
	if last := query.Get("last"); last != "" {
		i, found := slices.BinarySearch(names, last)
		if found {
			i++
		}
		names = names[i:]
	}
	n := len(names)
	if text := query.Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 {
			return nil, newRegistryError(http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
		}
	}
	if n < len(names) {
		names = names[:n]
		if n > 0 {
			more := url.Values{"last": {names[n-1]}, "n": {strconv.Itoa(n)}}
			p.Header().Set("Link", "<"+p.r.URL.Path+"?"+more.Encode()+`>; rel="next"`)
		}
	}
	return append([]string{}, names...), nil
}

// parseDigest reads a digest of a request's path.
func parseDigest(text string) (digest.Digest, error) {
	dgst, err := digest.Parse(text)
	if err != nil {
		return "", newRegistryError(http.StatusBadRequest, "DIGEST_INVALID", "invalid digest %q", text)
	}
	return dgst, nil
}

// notFound is the plain registry's error for something absent.
func notFound(code, format string, args ...any) error {
	return newRegistryError(http.StatusNotFound, code, format, args...)
}
