package imagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// An Auth adds credentials to a request.
type Auth func(*http.Request)

// Basic signs in with a user name and a password. For ECR that is AWS and the
// decoded authorization token.
func Basic(username, password string) Auth {
	return func(r *http.Request) { r.SetBasicAuth(username, password) }
}

// Push uploads node with everything below it to a repository, blobs first, then the
// manifests by digest, children before parents, then the tag. With an empty tag
// nothing is tagged. Base is the registry's origin: "http://127.0.0.1:5000". A nil
// client is one for this call: connections of http.DefaultClient are closed under its
// users whenever a test somewhere closes an httptest.Server.
//
// The subject of a referrer is not pushed with it.
func Push(ctx context.Context, client *http.Client, base, repo, tag string, node Node, auth ...Auth) (ref.Digest, error) {
	if client == nil {
		own := &http.Transport{}
		defer own.CloseIdleConnections()
		client = &http.Client{Transport: own}
	}
	p := pusher{client: client, repository: base + "/v2/" + repo, auth: auth}
	for _, blob := range node.AllBlobs() {
		if err := p.putBlob(ctx, blob); err != nil {
			return "", fmt.Errorf("pushing blob %s to %s: %w", blob.Digest(), repo, err)
		}
	}
	for n := range node.All() {
		if err := p.putManifest(ctx, string(n.Digest()), n); err != nil {
			return "", fmt.Errorf("pushing manifest %s to %s: %w", n.Digest(), repo, err)
		}
	}
	if tag != "" {
		if err := p.putManifest(ctx, tag, node); err != nil {
			return "", fmt.Errorf("tagging %s in %s as %s: %w", node.Digest(), repo, tag, err)
		}
	}
	return node.Digest(), nil
}

type pusher struct {
	client     *http.Client
	repository string // URL of the repository
	auth       []Auth
}

func (p pusher) putBlob(ctx context.Context, blob Blob) error {
	location, err := p.send(ctx, http.MethodPost, p.repository+"/blobs/uploads/", "", nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	if location == nil {
		return errors.New("the registry did not say where to upload to")
	}
	query := location.Query()
	query.Set("digest", string(blob.Digest()))
	location.RawQuery = query.Encode()
	_, err = p.send(ctx, http.MethodPut, location.String(), "application/octet-stream", blob.Content, http.StatusCreated)
	return err
}

func (p pusher) putManifest(ctx context.Context, identifier string, n Node) error {
	_, err := p.send(ctx, http.MethodPut, p.repository+"/manifests/"+identifier, n.Descriptor.MediaType, n.Raw, http.StatusCreated)
	return err
}

// send makes one request and returns the Location of the answer, nil where there is
// none. An answer other than want is an error that quotes the registry.
func (p pusher) send(ctx context.Context, method, target, contentType string, body []byte, want int) (*url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, sign := range p.auth {
		sign(req)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != want {
		return nil, fmt.Errorf("%s answered %s instead of %d: %s", method, resp.Status, want, bytes.TrimSpace(answer))
	}
	location, err := resp.Location()
	if errors.Is(err, http.ErrNoLocation) {
		return nil, nil
	}
	return location, err
}
