package sdkhttp_test

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/sdkhttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server counts the connections that it has.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	open map[net.Conn]bool
	made int
}

func serve(t *testing.T, handler http.HandlerFunc, start func(*httptest.Server)) *server {
	t.Helper()
	s := &server{Server: httptest.NewUnstartedServer(handler), open: map[net.Conn]bool{}}
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch state {
		case http.StateNew:
			s.open[c] = true
			s.made++
		case http.StateClosed, http.StateHijacked:
			delete(s.open, c)
		default:
		}
	}
	start(s.Server)
	t.Cleanup(s.Close)
	return s
}

func (s *server) connections() (open, made int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open), s.made
}

// drained waits until the server has no connection.
func (s *server) drained(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		open, _ := s.connections()
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections stay", open)
		}
	}
}

// loaded is the HTTP client of a configuration that is read from nothing but the environment.
func loaded(t *testing.T) aws.HTTPClient {
	t.Helper()
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithHTTPClient(sdkhttp.WhileLoading().WithTimeout(20*time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	return cfg.HTTPClient
}

func client(t *testing.T) *sdkhttp.Client {
	t.Helper()
	c, err := sdkhttp.New(loaded(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// get returns the status and the body of an answer.
func get(t *testing.T, c aws.HTTPClient, url string) (int, string) {
	t.Helper()
	resp, err := c.Do(request(t, url))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestConnectionsAreKeptUntilClose(t *testing.T) {
	s := serve(t, hello, (*httptest.Server).Start)
	c := client(t)
	for range 3 {
		get(t, c, s.URL)
	}
	if open, made := s.connections(); open != 1 || made != 1 {
		t.Errorf("%d connections of %d", open, made)
	}
	c.Close()
	s.drained(t)
	if _, body := get(t, c, s.URL); body != "hello" {
		t.Errorf("after Close: %q", body)
	}
	s.drained(t)
}

// A request that is under way at Close ends well, and leaves no connection.
func TestCloseDuringARequest(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(asked)
			<-goOn
		}
		hello(w, r)
	}, (*httptest.Server).Start)
	c := client(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, body := get(t, c, s.URL+"/slow"); body != "hello" {
			t.Errorf("%q", body)
		}
	})
	<-asked
	c.Close()
	get(t, c, s.URL) // must not make the pool keep the other's connection
	close(goOn)
	wg.Wait()
	s.drained(t)
}

func TestWhatLoadsKeepsNothing(t *testing.T) {
	s := serve(t, hello, (*httptest.Server).Start)
	get(t, loaded(t), s.URL)
	s.drained(t)
}

// What loading the configuration has added holds for the Client.
func TestCABundle(t *testing.T) {
	s := serve(t, hello, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if resp, err := client(t).Do(request(t, s.URL)); err == nil {
		_ = resp.Body.Close()
		t.Error("a certificate that nobody named is trusted")
	}
	t.Setenv("AWS_CA_BUNDLE", file)
	resp, err := client(t).Do(request(t, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("%s", resp.Proto)
	}
}

func TestTransportIsTheSDKs(t *testing.T) {
	var got http.Transport
	c, err := sdkhttp.New(loaded(t), func(t *http.Transport) {
		got.Proxy, got.TLSClientConfig, got.TLSHandshakeTimeout, got.ForceAttemptHTTP2 = t.Proxy, t.TLSClientConfig, t.TLSHandshakeTimeout, t.ForceAttemptHTTP2
		got.DisableKeepAlives, got.MaxIdleConnsPerHost = t.DisableKeepAlives, t.MaxIdleConnsPerHost
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got.Proxy == nil || got.TLSClientConfig.MinVersion != 0x0303 || got.TLSHandshakeTimeout == 0 || !got.ForceAttemptHTTP2 || got.DisableKeepAlives || got.MaxIdleConnsPerHost < 2 {
		t.Errorf("%+v", &got)
	}
}

func TestTimeout(t *testing.T) {
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, (*httptest.Server).Start)
	short := sdkhttp.WhileLoading().WithTimeout(time.Millisecond)
	c, err := sdkhttp.New(short, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if resp, err := c.Do(request(t, s.URL)); err == nil {
		_ = resp.Body.Close()
		t.Error("it waits for ever")
	}
}

// Only what keeps the method is followed, and session tokens go nowhere else.
func TestRedirects(t *testing.T) {
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "token "+r.Header.Get("X-Amz-Security-Token"))
	}, (*httptest.Server).Start)
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/301": {301, ""},
		"/302": {302, ""},
		"/307": {200, "token "},
		"/308": {200, "token "},
	} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(map[string]int{"/301": 301, "/302": 302, "/307": 307, "/308": 308}[r.URL.Path])
		}, (*httptest.Server).Start)
		c := client(t)
		r := request(t, s.URL+path)
		r.Header.Set("X-Amz-Security-Token", "secret")
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want.status || strings.TrimSpace(string(body)) != strings.TrimSpace(want.body) {
			t.Errorf("%s: %d %q", path, resp.StatusCode, body)
		}
	}
	round := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusTemporaryRedirect) }, (*httptest.Server).Start)
	if resp, err := client(t).Do(request(t, round.URL)); err == nil {
		_ = resp.Body.Close()
		t.Error("round and round")
	}
}

// S3 answers 301 without saying where to.
func TestARedirectToNowhere(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMovedPermanently) }, (*httptest.Server).Start)
	if status, _ := get(t, client(t), s.URL); status != http.StatusMovedPermanently {
		t.Errorf("%d", status)
	}
}

type other struct{}

func (other) Do(*http.Request) (*http.Response, error) { return nil, context.Canceled }

func TestAnotherClient(t *testing.T) {
	if _, err := sdkhttp.New(other{}, nil); err == nil {
		t.Error("no error")
	}
}
