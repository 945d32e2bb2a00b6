package walker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// fetch reads a manifest by tag or digest and checks the digest that the registry
// states for it. The caller knows which digest it should have.
func (w *walk) fetch(ctx context.Context, reference string) (Manifest, error) {
	resp, err := w.client.do(ctx, http.MethodGet, w.repository+"/manifests/"+reference)
	if err != nil {
		return Manifest{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil {
		return Manifest{}, fmt.Errorf("reading manifest %s: %w", reference, err)
	}
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return Manifest{}, fmt.Errorf("manifest %s: %w", reference, ErrNotFound)
	case resp.StatusCode != http.StatusOK:
		return Manifest{}, fmt.Errorf("manifest %s: the registry answered %s: %s", reference, resp.Status, raw)
	case len(raw) > maxManifest:
		return Manifest{}, fmt.Errorf("manifest %s has more than %d bytes", reference, maxManifest)
	}

	// Not every registry states a digest. One that does has to be right.
	if stated := resp.Header.Get("Docker-Content-Digest"); stated != "" {
		d, err := digest.Parse(stated)
		switch {
		case err != nil:
			w.damage(digest.FromBytes(raw), "Docker-Content-Digest %q is no digest: %v", stated, err)
		case d.Algorithm().FromBytes(raw) != d:
			w.damage(d, "Docker-Content-Digest names it, and the bytes hash to %s", d.Algorithm().FromBytes(raw))
		}
	}
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		mediaType = resp.Header.Get("Content-Type") // reported by whoever cannot read it
	}
	return Manifest{MediaType: mediaType, Raw: raw}, nil
}

// measure returns the size of a blob, or missing. It reads and hashes the blob when
// the walk is deep, and also when the registry redirects: signed URLs answer no HEAD.
func (w *walk) measure(ctx context.Context, want v1.Descriptor) (int64, error) {
	target := w.repository + "/blobs/" + string(want.Digest)
	if !w.deep {
		resp, err := w.client.do(ctx, http.MethodHead, target)
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusNotFound {
			return missing, nil
		}
		if resp.StatusCode == http.StatusOK && resp.ContentLength >= 0 {
			return resp.ContentLength, nil
		}
	}

	resp, err := w.client.do(ctx, http.MethodGet, target)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return missing, nil
	default:
		return 0, fmt.Errorf("blob %s: the registry answered %s", want.Digest, resp.Status)
	}
	verifier := want.Digest.Verifier()
	size, err := io.Copy(verifier, resp.Body)
	if err != nil {
		return 0, fmt.Errorf("reading blob %s: %w", want.Digest, err)
	}
	if !verifier.Verified() {
		w.damage(want.Digest, "the blob's bytes do not hash to its digest")
	}
	return size, nil
}

// A client sends requests to one registry: it signs in as the registry asks and
// follows redirects itself, so that credentials never leave for another host.
type client struct {
	http               *http.Client
	username, password string
	authorization      string // the header that answered the registry's challenge
}

func newClient(o Options) *client {
	base := http.DefaultClient
	if o.Client != nil {
		base = o.Client
	}
	noRedirects := *base
	noRedirects.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{http: &noRedirects, username: o.Username, password: o.Password}
}

// accept is every kind of manifest a client may be sent. A registry converts for
// those that ask for less.
var accept = strings.Join(slices.Concat(indexTypes, imageTypes), ", ")

// do sends a request, a second time with credentials if the registry wants some.
func (c *client) do(ctx context.Context, method, target string) (*http.Response, error) {
	resp, err := c.send(ctx, method, target, c.authorization)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized {
		resp.Body.Close()
		if c.authorization, err = c.answer(ctx, resp.Header.Get("WWW-Authenticate")); err != nil {
			return nil, fmt.Errorf("signing in: %w", err)
		}
		if resp, err = c.send(ctx, method, target, c.authorization); err != nil {
			return nil, err
		}
	}
	if method == http.MethodHead {
		return resp, nil
	}
	return c.follow(ctx, resp)
}

// follow goes where a GET was redirected to, without credentials.
func (c *client) follow(ctx context.Context, resp *http.Response) (*http.Response, error) {
	const most = 5
	for range most {
		if resp.StatusCode < 300 || resp.StatusCode > 399 {
			return resp, nil
		}
		resp.Body.Close()
		next, err := resp.Location()
		if err != nil {
			return nil, fmt.Errorf("the registry answered %s without saying where to: %w", resp.Status, err)
		}
		if resp, err = c.send(ctx, http.MethodGet, next.String(), ""); err != nil {
			return nil, err
		}
	}
	resp.Body.Close()
	return nil, fmt.Errorf("more than %d redirects", most)
}

func (c *client) send(ctx context.Context, method, target, authorization string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return c.http.Do(req)
}

var challengeParameter = regexp.MustCompile(`(\w+)="([^"]*)"`)

// answer returns the Authorization header that a challenge asks for.
func (c *client) answer(ctx context.Context, challenge string) (string, error) {
	scheme, rest, _ := strings.Cut(challenge, " ")
	switch strings.ToLower(scheme) {
	case "basic":
		if c.username == "" {
			return "", errors.New("the registry wants a user name and a password")
		}
		return c.basic(), nil
	case "bearer":
		parameters := map[string]string{}
		for _, m := range challengeParameter.FindAllStringSubmatch(rest, -1) {
			parameters[m[1]] = m[2]
		}
		token, err := c.token(ctx, parameters)
		return "Bearer " + token, err
	}
	return "", fmt.Errorf("the registry's challenge %q is neither Basic nor Bearer", challenge)
}

func (c *client) basic() string {
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(c.username, c.password)
	return req.Header.Get("Authorization")
}

// token fetches a bearer token, anonymously where there is no user name.
func (c *client) token(ctx context.Context, challenge map[string]string) (string, error) {
	realm, err := url.Parse(challenge["realm"])
	if err != nil {
		return "", err
	}
	query := realm.Query()
	for _, key := range []string{"service", "scope"} {
		if value := challenge[key]; value != "" {
			query.Set(key, value)
		}
	}
	realm.RawQuery = query.Encode()

	authorization := ""
	if c.username != "" {
		authorization = c.basic()
	}
	resp, err := c.send(ctx, http.MethodGet, realm.String(), authorization)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the token server answered %s", resp.Status)
	}
	var grant struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&grant); err != nil {
		return "", fmt.Errorf("reading the token server's answer: %w", err)
	}
	if grant.Token == "" {
		grant.Token = grant.AccessToken
	}
	return grant.Token, nil
}
