package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/content"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// pushesAtOnce is enough to keep a machine of few cores busy.
const pushesAtOnce = 8

// Fill pushes repositories to s, as fast as that goes, and returns what s was given. At
// an ECR the repositories must exist.
func (s *Server) Fill(ctx context.Context, repositories []content.Repository) (*Inventory, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: pushesAtOnce}}
	defer client.CloseIdleConnections()
	f := filler{client: client, server: s, inventory: newInventory(), home: map[ref.Digest]string{}}
	for _, repository := range repositories {
		tags := repository.Make()
		if err := f.repository(ctx, repository.Name, tags); err != nil {
			return nil, fmt.Errorf("filling %s: %w", repository.Name, err)
		}
		f.inventory.add(repository.Name, tags)
	}
	return f.inventory, nil
}

// filler pushes, each blob once: the content of W1 weighs four times as much otherwise.
type filler struct {
	client    *http.Client
	server    *Server
	inventory *Inventory
	home      map[ref.Digest]string // the first repository that got a blob
}

func (f *filler) repository(ctx context.Context, name string, tags []content.Tag) error {
	base := f.server.URL() + "/v2/" + name
	err := each(ctx, blobsOf(tags), func(ctx context.Context, blob imagetest.Blob) error {
		return f.blob(ctx, base, blob, f.home[blob.Digest()])
	})
	if err != nil {
		return err
	}
	for _, blob := range blobsOf(tags) {
		if f.home[blob.Digest()] == "" {
			f.home[blob.Digest()] = name
		}
	}
	for _, tag := range tags {
		for node := range tag.Image.All() {
			if f.inventory.manifests[held{name, node.Digest()}] {
				continue
			}
			f.inventory.manifests[held{name, node.Digest()}] = true
			if err := f.manifest(ctx, base, string(node.Digest()), node); err != nil {
				return err
			}
		}
	}
	return each(ctx, tags, func(ctx context.Context, tag content.Tag) error {
		return f.manifest(ctx, base, tag.Name, tag.Image)
	})
}

// blob mounts what another repository has, and uploads what none has.
func (f *filler) blob(ctx context.Context, base string, blob imagetest.Blob, home string) error {
	query := url.Values{}
	if home != "" {
		query = url.Values{"mount": {string(blob.Digest())}, "from": {home}}
	}
	status, location, err := f.send(ctx, http.MethodPost, base+"/blobs/uploads/?"+query.Encode(), "", nil, http.StatusCreated, http.StatusAccepted)
	if err != nil || status == http.StatusCreated {
		return err
	}
	query = location.Query()
	query.Set("digest", string(blob.Digest()))
	location.RawQuery = query.Encode()
	_, _, err = f.send(ctx, http.MethodPut, location.String(), "application/octet-stream", blob.Content, http.StatusCreated)
	return err
}

func (f *filler) manifest(ctx context.Context, base, identifier string, node imagetest.Node) error {
	_, _, err := f.send(ctx, http.MethodPut, base+"/manifests/"+identifier, node.Descriptor.MediaType, node.Raw, http.StatusCreated)
	return err
}

// send makes one request and insists on the status of the answer. It returns the
// location that the answer names.
func (f *filler) send(ctx context.Context, method, target, contentType string, body []byte, statuses ...int) (status int, location *url.URL, err error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	f.server.Sign(req)
	resp, err := f.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if !slices.Contains(statuses, resp.StatusCode) {
		return 0, nil, fmt.Errorf("%s %s answered %s", method, req.URL.Path, resp.Status)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, nil, err
	}
	if location, err = resp.Location(); errors.Is(err, http.ErrNoLocation) {
		err = nil
	}
	return resp.StatusCode, location, err
}

// Sign adds to a request what an ECR's registry asks for. Other servers ask for nothing.
func (s *Server) Sign(req *http.Request) {
	if s.ECR != nil {
		req.SetBasicAuth("AWS", s.ECR.RegistryToken(AccessKey, "", ""))
	}
}

// AccessKey signs what is asked of a local ECR.
const AccessKey = "AKIABENCHMARK0000000"

func each[T any](ctx context.Context, all []T, do func(context.Context, T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pushesAtOnce)
	for _, one := range all {
		g.Go(func() error { return do(ctx, one) })
	}
	return g.Wait()
}

// Check reports what the tags of s are not as want says. It leaves its requests in the
// journal.
func (s *Server) Check(ctx context.Context, want *Inventory) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: pushesAtOnce}}
	defer client.CloseIdleConnections()
	return each(ctx, want.Repositories, func(ctx context.Context, repository string) error {
		for tag, digest := range want.Tags[repository] {
			req, err := http.NewRequestWithContext(ctx, http.MethodHead, s.URL()+"/v2/"+repository+"/manifests/"+tag, nil)
			if err != nil {
				return err
			}
			req.Header.Set("Accept", "*/*")
			req.Header.Add("Accept", "application/vnd.oci.image.index.v1+json")
			req.Header.Add("Accept", "application/vnd.oci.image.manifest.v1+json")
			s.Sign(req)
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			resp.Body.Close()
			if got := resp.Header.Get("Docker-Content-Digest"); got != string(digest) {
				return fmt.Errorf("%s:%s is %s %q and should be %s", repository, tag, resp.Status, got, digest)
			}
		}
		return nil
	})
}
