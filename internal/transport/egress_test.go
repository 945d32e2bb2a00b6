package transport_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// names is a name server in the test: what a name leads to, the last address for good.
type names struct {
	mu    sync.Mutex
	known map[string][]string
	down  bool // it answers that it cannot answer
}

func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go n.serve(far)
		return near, nil
	}}
}

// serve answers questions in the form that DNS has over TCP.
// https://www.rfc-editor.org/rfc/rfc1035#section-4
func (n *names) serve(conn net.Conn) {
	defer conn.Close()
	for {
		var length uint16
		if binary.Read(conn, binary.BigEndian, &length) != nil {
			return
		}
		query := make([]byte, length)
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		answer := n.answer(query)
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}
}

func (n *names) answer(query []byte) []byte {
	var labels []string
	at := 12
	for query[at] != 0 {
		size := int(query[at])
		labels = append(labels, string(query[at+1:at+1+size]))
		at += 1 + size
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	question := query[12 : at+5]
	out := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
	name := strings.Join(labels, ".")
	ip, code := n.next(name, kind == 1), n.code(name)
	out[3] |= code
	if code != 0 || !ip.IsValid() {
		return out
	}
	out[7] = 1
	out = append(out, 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
	return append(out, ip.AsSlice()...)
}

// code is what the server makes of a question: all is well, it is down, or there is no such
// name. https://www.rfc-editor.org/rfc/rfc1035#section-4.1.1
func (n *names) code(name string) byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.down:
		return 2
	case len(n.known[name]) == 0:
		return 3
	}
	return 0
}

func (n *names) set(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// next is what a name leads to now: only questions for IPv4 are answered, and count.
func (n *names) next(name string, v4 bool) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	addresses := n.known[name]
	if !v4 || len(addresses) == 0 {
		return netip.Addr{}
	}
	if len(addresses) > 1 {
		n.known[name] = addresses[1:]
	}
	return netip.MustParseAddr(addresses[0])
}

// leads is one way in which a hostile address comes to the program. It returns what came
// of asking, with a registry of the test's own at home.
type leads struct {
	place string // as the error has it
	ask   func(t *testing.T, to string) error
}

// wayfarer is a client of a registry at registry.test, whose answers are the test's.
func wayfarer(t *testing.T, answer http.HandlerFunc, policy egress.Policy) (*transport.Client, ref.Repository) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	known := &names{known: map[string][]string{
		"registry.test": {"127.0.0.1"},
		"metadata.test": {"169.254.169.254"},
		"inside.test":   {"10.20.30.40"},
		"self.test":     {"127.0.0.1"},
	}}
	opts := transport.Options{RetryTimes: retries(policy), Egress: policy, Settings: everywhere(registry.Settings{Security: registry.Plain})}
	c := transport.New(opts.Resolving(known.resolver()))
	t.Cleanup(func() { _ = c.Close() })
	return c, ref.Repository{Host: "registry.test:" + port, Path: "team/app"}
}

// retries are for what is refused: it is refused at once. What goes to the network is
// refused there as often as it is tried.
func retries(policy egress.Policy) int {
	if policy.Named != nil || policy.Loopback || len(policy.Allowed) == 1 {
		return 0
	}
	return 3
}

// ways are the seven ways, for a client with some policy.
func ways(policy egress.Policy) []leads {
	byTags := policy
	byTags.Unnamed = true
	directly := func(policy egress.Policy) func(t *testing.T, to string) error {
		return func(t *testing.T, to string) error {
			c, _ := wayfarer(t, manifest, policy)
			_, err := c.Manifest(t.Context(), ref.Repository{Host: to, Path: "team/app"}.Tagged("1.0"))
			return err
		}
	}
	reading := func(answer func(to string) http.HandlerFunc) func(t *testing.T, to string) error {
		return func(t *testing.T, to string) error {
			c, repo := wayfarer(t, answer(to), policy)
			_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
			return err
		}
	}
	return []leads{
		{"configuration", directly(policy)},
		{"resource tag", directly(byTags)},
		{"token service", reading(func(to string) http.HandlerFunc {
			return with("Www-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token"`, to), refuse(401, "", ""))
		})},
		{"redirect", reading(func(to string) http.HandlerFunc {
			return with("Location", "http://"+to+"/latest/", refuse(307, "", ""))
		})},
		{"upload location", func(t *testing.T, to string) error {
			c, repo := wayfarer(t, with("Location", "http://"+to+"/put", refuse(202, "", "")), policy)
			dst, err := c.OpenDestination(t.Context(), repo)
			if err != nil {
				t.Fatal(err)
			}
			return registry.UploadBlob(t.Context(), dst, blobDesc, content(blob))
		}},
		{"foreign URL", func(t *testing.T, to string) error {
			c, repo := wayfarer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(blob) }, policy)
			src, err := c.OpenSource(t.Context(), repo)
			if err != nil {
				t.Fatal(err)
			}
			info := imagetypes.BlobInfo{Digest: blobDesc.Digest, URLs: []string{"http://" + to + "/layer"}}
			body, _, err := src.GetBlob(t.Context(), info, none.NoCache)
			if err != nil {
				return err
			}
			defer body.Close()
			got, err := io.ReadAll(body)
			if err == nil && string(got) == string(blob) {
				return errNotAsked
			}
			return err
		}},
		{"link to the next page", func(t *testing.T, to string) error {
			c, repo := wayfarer(t, with("Link", "<http://"+to+`/tags>; rel="next"`, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"tags":["a"]}`)
			}), policy)
			for _, err := range c.Tags(t.Context(), repo) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
	}
}

var errNotAsked = fmt.Errorf("the registry itself was asked: %w", registry.ErrPermanent)

// Nothing leads to where clouds keep credentials: seven ways, four forms of address.
func TestNothingLeadsToMetadata(t *testing.T) {
	escapes, tried := 0, 0
	for _, way := range ways(egress.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}) {
		for _, to := range []string{"169.254.169.254", "[::ffff:169.254.170.2]:80", "[fd00:ec2::254]", "metadata.test"} {
			tried++
			if err := way.ask(t, to); !held(err) {
				escapes++
				t.Errorf("%s to %s: %v", way.place, to, err)
			}
		}
	}
	if tried != 28 {
		t.Errorf("%d of 28 were tried", tried)
	}
	faults.Covers(t, "F94")
	faults.Measured(t, faults.EgressWays, tried)
	faults.Measured(t, faults.EgressEscapes, escapes)
}

// held reports whether an error is this program's own refusal, which no network gives.
func held(err error) bool {
	if errors.Is(err, errNotAsked) {
		return true
	}
	if !errors.Is(err, registry.ErrPermanent) {
		return false
	}
	for _, words := range []string{"refused: ", "leads to another host", "bearer realm host"} {
		if strings.Contains(err.Error(), words) {
			return true
		}
	}
	return false
}

// What an operator has not named leads to no address inside, and the error says what led
// there.
func TestOnlyWhatIsNamedLeadsInside(t *testing.T) {
	for _, way := range ways(egress.Policy{}) {
		if way.place == "configuration" {
			continue // an operator named it
		}
		for _, to := range []string{"10.20.30.40", "100.64.0.1:80", "[fd12::1]", "inside.test", "127.0.0.1:1", "[::1]:1", "0.0.0.0:1", "self.test:1"} {
			err := way.ask(t, to)
			if !held(err) {
				t.Errorf("%s to %s: %v", way.place, to, err)
			}
			if named := way.place; named != "resource tag" && named != "foreign URL" && named != "token service" && !strings.Contains(err.Error(), named) {
				t.Errorf("%q does not say %q", err, named)
			}
		}
	}
}

// What was named, or allowed, is gone to: the refusal is then the network's.
func TestWhatIsNamedLeadsInside(t *testing.T) {
	anywhere := egress.Policy{Named: func(string) bool { return true }}
	loopback := egress.Policy{Loopback: true}
	network := egress.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for name, policy := range map[string]egress.Policy{"named": anywhere, "loopback": loopback, "allowed": network} {
		for _, way := range ways(policy) {
			switch way.place {
			case "foreign URL", "link to the next page":
				continue // which lead nowhere else whatever is named
			}
			err := way.ask(t, "127.0.0.1:1")
			if err == nil || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("%s, %s: %v", name, way.place, err)
			}
		}
	}
}

// A name that leads elsewhere the next time is looked at each time.
func TestANameThatFlips(t *testing.T) {
	asked := 0
	server := httptest.NewServer(with("Connection", "close", func(w http.ResponseWriter, r *http.Request) {
		asked++
		manifest(w, r)
	}))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	known := &names{known: map[string][]string{"registry.test": {"127.0.0.1", "169.254.169.254"}}}
	opts := transport.Options{RetryTimes: 3, Settings: everywhere(registry.Settings{Security: registry.Plain})}
	c := transport.New(opts.Resolving(known.resolver()))
	t.Cleanup(func() { _ = c.Close() })
	at := ref.Repository{Host: "registry.test:" + port, Path: "team/app"}.Tagged("1.0")
	if _, err := c.Manifest(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	_, err := c.Manifest(t.Context(), at)
	wantKind(t, err, registry.ErrPermanent)
	if !strings.Contains(err.Error(), "169.254.169.254 refused") || asked != 1 {
		t.Errorf("error %v after %d requests", err, asked)
	}
	faults.Covers(t, "F03")
}
