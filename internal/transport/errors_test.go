package transport_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func TestStatusErrorKinds(t *testing.T) {
	for _, tt := range []struct {
		err  transport.StatusError
		kind error
	}{
		{transport.StatusError{Status: 404}, registry.ErrNotFound},
		{transport.StatusError{Status: 404, Code: "BLOB_UPLOAD_UNKNOWN"}, nil},
		{transport.StatusError{Status: 401}, registry.ErrDenied},
		{transport.StatusError{Status: 403, Code: "TOOMANYREQUESTS"}, registry.ErrThrottled},
		{transport.StatusError{Status: 429}, registry.ErrThrottled},
		{transport.StatusError{Method: "PUT", Status: 403, Message: "tag is immutable"}, registry.ErrImmutable},
		{transport.StatusError{Method: "GET", Status: 403, Message: "immutable"}, registry.ErrDenied},
		{transport.StatusError{Method: "PUT", Status: 500, Message: "immutable"}, nil},
		{transport.StatusError{Status: 200}, registry.ErrPermanent},
		{transport.StatusError{Status: 302}, registry.ErrPermanent},
		{transport.StatusError{Status: 408}, nil},
		{transport.StatusError{Status: 418}, registry.ErrPermanent},
		{transport.StatusError{Status: 501}, registry.ErrUnsupported},
		{transport.StatusError{Status: 500}, nil},
	} {
		if got := tt.err.Unwrap(); !errors.Is(got, tt.kind) || (got == nil) != (tt.kind == nil) {
			t.Errorf("%+v is %v, want %v", tt.err, got, tt.kind)
		}
	}
	var after retry.After = &transport.StatusError{After: time.Second}
	if after.RetryAfter() != time.Second {
		t.Error("RetryAfter is lost")
	}
}

func TestErrorTexts(t *testing.T) {
	faults.Covers(t, "F99", "F101")
	long := strings.Repeat("x", 1<<20)
	html := with("Content-Type", "text/html", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(502)
		_, _ = io.WriteString(w, "<html><body>proxy page")
	})
	body := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
		has    []string
		hasNot []string
	}{
		{"code and message", refuse(403, "DENIED", "ask the owner"), []string{"GET http://" + host + "/v2/team/app/manifests/1.0: 403 DENIED ask the owner"}, nil},
		{"several messages", body(400, `{"errors":[{"code":"A","message":"one"},{"code":"B","message":"two"}]}`), []string{"400 A one; two"}, nil},
		{"no words", refuse(403, "", ""), []string{"403 Forbidden"}, nil},
		{"a page", html, []string{"502 Bad Gateway"}, []string{"html"}},
		{"long", body(400, long), []string{"…"}, []string{strings.Repeat("x", 513)}},
		{"long code and message", refuse(400, long, long), nil, []string{strings.Repeat("x", 513)}},
		{"control characters", body(400, "one\x1b[2J\r\ntwo\x9b\x00\u202ethree"), []string{`one\x1b[2J\r\ntwo\x9b\x00\u202ethree`}, []string{"\x1b", "\n", "\x9b", "\u202e"}},
		{"nothing but control characters", body(400, strings.Repeat("\x00", 1000)), []string{`\x00`}, nil},
		{"a URL with a query", body(400, "see https://x.test/a?token=s3cret&b=c for more"), []string{"see https://x.test/a for more"}, []string{"s3cret"}},
		{"a URL with a user", body(400, "see https://me:s3cret@x.test/a"), []string{"see https://x.test/a"}, []string{"s3cret"}},
		{
			"what S3 says, and not what it quotes",
			body(403, `<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code><Message>no</Message><StringToSign>X-Amz-Security-Token=s3cret</StringToSign></Error>`),
			[]string{"403 SignatureDoesNotMatch no"},
			[]string{"s3cret"},
		},
		{"a dead pre-signed URL", with("Location", "http://gone.test/data?X-Amz-Signature=s3cret", refuse(307, "", "")), []string{"gone.test", "connection refused"}, []string{"s3cret", "Signature"}},
		{"a Location that is none", with("Location", "http://[?X-Amz-Signature=s3cret", refuse(307, "", "")), nil, []string{"s3cret"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(host, tt.answer)
				_, err := w.client(transport.Options{}).Manifest(t.Context(), repo.Tagged("1.0"))
				if err == nil {
					t.Fatal("no error")
				}
				for _, part := range tt.has {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error %q lacks %q", err, part)
					}
				}
				for _, part := range tt.hasNot {
					if strings.Contains(err.Error(), part) {
						t.Errorf("error %q has %q", err, part)
					}
				}
				if n := len(err.Error()); n > 512+len("GET http://"+host+"/v2/team/app/manifests/1.0: 400 ") {
					t.Errorf("the error has %d bytes", n)
				}
			})
		})
	}
}

func TestAHugeHeaderIsRefused(t *testing.T) {
	faults.Covers(t, "F31")
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, with("X-Much", strings.Repeat("x", 10<<20), manifest))
		if _, err := w.client(transport.Options{}).Manifest(t.Context(), repo.Tagged("1.0")); err == nil || len(err.Error()) > 512 {
			t.Errorf("error %v", err)
		}
	})
}

func TestAnswersThatAreCompressedAreNotUnpacked(t *testing.T) {
	faults.Covers(t, "F30")
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, with("Content-Encoding", "gzip", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x1f\x8b bytes") }))
		_, err := list(t, w.client(transport.Options{}))
		wantKind(t, err, registry.ErrPermanent)
		if got := j.all()[0].header.Get("Accept-Encoding"); strings.Contains(got, "gzip") {
			t.Errorf("asked for %q", got)
		}
	})
}

// Errors of the network say what whoever named the host can do about them, and no more of
// their kind than they say anyway.
func TestNetworkErrorsAdvise(t *testing.T) {
	missing := &net.DNSError{Err: "no such host", Name: "registry.invalid", IsNotFound: true}
	unknown := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	for _, test := range []struct {
		err   error
		final bool
		end   string
	}{
		{missing, true, "no such host (is the name of the registry right?)"},
		{&url.Error{Op: "Get", URL: "https://registry.invalid/v2/", Err: missing}, true, "no such host (is the name of the registry right?)"},
		{unknown, true, "unknown authority (tls.ca of a configuration file, and --src-cert-dir, name authorities to trust)"},
		{&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a"}}, true, ""},
		{errors.New("http: server gave HTTP response to HTTPS client"), false, "client (--insecure-registry lets a host speak plain HTTP)"},
		{&net.DNSError{Err: "timeout", IsTimeout: true, IsTemporary: true}, false, "timeout"},
		{errors.New("connection reset by peer"), false, "peer"},
	} {
		err := transport.NetworkError(test.err)
		if !strings.HasSuffix(err.Error(), test.end) || strings.Contains(err.Error(), "permanent failure") {
			t.Errorf("%v became %v, expected it to end with %s", test.err, err, test.end)
		}
		if got := errors.Is(err, registry.ErrPermanent); got != test.final {
			t.Errorf("%v is final: %t", err, got)
		}
	}
}
