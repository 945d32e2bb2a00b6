package ecrlocal

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"

	"go.uber.org/zap"
)

// maxAPIBody bounds a control-plane request: a layer part of 20 MiB in base64, and the rest.
const maxAPIBody = 32 << 20

// The X-Amz-Target prefixes of the services.
const (
	targetECR     = "AmazonEC2ContainerRegistry_V20150921."
	targetPublic  = "SpencerFrontendService."
	targetTagging = "ResourceGroupsTaggingAPI_20170126."
)

// operation is one control-plane operation.
type operation struct {
	action string // what IAM calls it: "ecr:PutImage"
	casing casing // of its members on the wire
	handle func(*Server, *call, []byte) (any, error)
}

// op adapts a typed handler. In and Out are the SDK's own types, so a misspelt member cannot
// compile. The wire's member names differ from Go's only in case, which decoding ignores.
func op[In, Out any](handle func(*Server, *call, *In) (*Out, error)) func(*Server, *call, []byte) (any, error) {
	return func(s *Server, c *call, body []byte) (any, error) {
		in := new(In)
		if err := json.Unmarshal(body, in); err != nil {
			return nil, newError("SerializationException", "the request is not what the operation takes: %s", err)
		}
		return handle(s, c, in)
	}
}

// locked is op for handlers that need the state: it holds the server's lock for them.
func locked[In, Out any](handle func(*Server, *call, *In) (*Out, error)) func(*Server, *call, []byte) (any, error) {
	return op(func(s *Server, c *call, in *In) (*Out, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return handle(s, c, in)
	})
}

// operations is every JSON operation, by X-Amz-Target.
func operations() map[string]operation {
	all := make(map[string]operation)
	maps.Copy(all, ecrOperations())
	maps.Copy(all, publicOperations())
	maps.Copy(all, taggingOperations())
	return all
}

// call is one control-plane request that may be handled.
type call struct {
	r      *http.Request
	caller identity
	region string
}

// target is the registry a request means: the caller's own unless it names another account.
func (c *call) target(registryID *string) registryKey {
	key := registryKey{Account: c.caller.account, Region: c.region}
	if registryID != nil && *registryID != "" {
		key.Account = *registryID
	}
	return key
}

// mentions is what requests of different operations call the thing they are about.
type mentions struct {
	RegistryID     string `json:"registryId"`
	RepositoryName string `json:"repositoryName"`
	ResourceArn    string `json:"resourceArn"`
	ImageTag       string `json:"imageTag"`
	ImageDigest    string `json:"imageDigest"`
	LayerDigest    string `json:"layerDigest"`
}

// readMentions looks into a request without insisting that it is well formed.
func readMentions(body []byte) mentions {
	var m mentions
	_ = json.Unmarshal(body, &m) // the operation itself reports what is wrong
	if _, name, ok := parseRepositoryARN(m.ResourceArn); ok {
		m.RepositoryName = name
	}
	return m
}

func (m mentions) reference() string {
	for _, s := range []string{m.ImageTag, m.ImageDigest, m.LayerDigest} {
		if s != "" {
			return s
		}
	}
	return ""
}

// serveAPI answers a control-plane request of any service.
func (s *Server) serveAPI(x *exchange, r *http.Request) {
	x.describe(func(e *Entry) { e.Plane = PlaneAPI })
	if r.Method != http.MethodPost {
		http.Error(x, "ecrlocal: the registry is under /v2/; everything else is a POST to /", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(x, r.Body, maxAPIBody))
	if err != nil {
		writeAPIError(x, newError("SerializationException", "reading the request: %s", err))
		return
	}
	target := r.Header.Get("X-Amz-Target")
	if target == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		s.serveSTS(x, r, body)
		return
	}
	s.serveJSON(x, r, target, body)
}

// serveJSON answers one JSON 1.1 request.
func (s *Server) serveJSON(x *exchange, r *http.Request, target string, body []byte) {
	_, name, _ := strings.Cut(target, ".")
	about := readMentions(body)
	x.describe(func(e *Entry) {
		e.Op, e.Repository, e.Reference = name, about.RepositoryName, about.reference()
	})
	operation, known := s.operations[target]
	if !known {
		writeAPIError(x, newError("UnknownOperationException", "ecrlocal does not know the operation %q", target))
		return
	}
	signed, ok := parseScope(r.Header.Get("Authorization"))
	if !ok {
		writeAPIError(x, newError("MissingAuthenticationTokenException", "Missing Authentication Token"))
		return
	}
	s.mu.Lock()
	caller, apiErr := s.identify(signed.accessKey)
	s.mu.Unlock()
	if apiErr != nil {
		writeAPIError(x, apiErr)
		return
	}
	c := &call{r: r, caller: caller, region: signed.region}
	if strings.HasPrefix(target, targetPublic) {
		c.region = publicRegion
	}
	key := c.target(&about.RegistryID)
	if !isAccountID(key.Account) || !regionPattern.MatchString(key.Region) {
		writeAPIError(x, errInvalidParameter("there is no registry %q in the Region %q", key.Account, key.Region))
		return
	}
	x.describe(func(e *Entry) { e.Account, e.Region, e.Principal = key.Account, key.Region, caller.arn })

	after, proceed := s.faults.inject(x, r, func(f *Fault) { writeAPIError(x, f.apiError()) })
	if !proceed {
		return
	}
	defer after()
	if err := s.admit(caller, operation.action, key, about.RepositoryName); err != nil {
		writeAPIError(x, err)
		return
	}
	out, err := operation.handle(s, c, body)
	if err != nil {
		s.writeFailure(x, name, err)
		return
	}
	x.Header().Set("Content-Type", "application/x-amz-json-1.1")
	x.Header().Set("X-Amzn-Requestid", randomUUID())
	_, _ = x.Write(encodeAWS(out, operation.casing)) // the client may be gone
}

// admit refuses what the credentials file denies and what comes too fast.
func (s *Server) admit(id identity, action string, target registryKey, repository string) error {
	if id.denies(action) {
		resource := "*"
		if repository != "" {
			resource = repositoryARN(target, repository)
		}
		return errDenied(id, action, resource)
	}
	if !s.meter.allow(action, target, s.clock()) {
		return newError("ThrottlingException", "Rate exceeded")
	}
	return nil
}

// writeFailure answers with err, and logs it when it is not the client's doing.
func (s *Server) writeFailure(w http.ResponseWriter, op string, err error) {
	apiErr, ok := errors.AsType[*apiError](err)
	if !ok {
		s.log.Error("operation failed", zap.String("op", op), zap.Error(err))
		apiErr = &apiError{code: "ServerException", message: err.Error(), status: http.StatusInternalServerError}
	}
	writeAPIError(w, apiErr)
}

// writeAPIError answers with err as JSON 1.1 spells exceptions.
func writeAPIError(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		e = &apiError{code: "ServerException", message: err.Error(), status: http.StatusInternalServerError}
	}
	body := map[string]any{"__type": e.code, "message": e.message}
	maps.Copy(body, e.fields)
	raw, marshalErr := json.Marshal(body)
	if marshalErr != nil { // fields hold strings and numbers
		panic(marshalErr)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", randomUUID())
	w.WriteHeader(e.httpStatus())
	_, _ = w.Write(raw) // the client may be gone
}

func (e *apiError) httpStatus() int {
	if e.status == 0 {
		return http.StatusBadRequest
	}
	return e.status
}

// apiError is the fault as the control plane reports it.
func (f *Fault) apiError() *apiError {
	code := f.Code
	if code == "" {
		code = "InternalFailure"
	}
	return &apiError{code: code, message: f.Message, status: f.Status}
}

// registryError is the fault as the registry reports it.
func (f *Fault) registryError() *registryError {
	code := f.Code
	if code == "" {
		code = "UNKNOWN"
	}
	return &registryError{status: f.Status, code: code, message: f.Message}
}

func randomUUID() string {
	h := randomHex(16)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}
