package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
	orasauth "oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// sign NAME KIND [SEED] puts referrers of an image, an index, upstream: a signature of
// it, an SBOM of its first child and a signature of that. Upstream has no referrers API,
// so they are listed under fallback tags.
func (s *stage) sign(ts *testscript.TestScript, _ bool, args []string) {
	root, err := image(args[1], append(args, args[0])[2])
	ts.Check(err)
	repo, _, _ := strings.Cut(args[0], ":")
	refer := func(subject imagetest.Node, artifactType string) imagetest.Node {
		r := imagetest.Referrer(subject, artifactType, imagetest.Layer(artifactType+string(subject.Digest()), 700))
		tag := strings.Replace(string(subject.Digest()), ":", "-", 1)
		_, err := imagetest.Push(s.t.Context(), nil, s.upstream.direct, repo, tag, imagetest.Index(r))
		ts.Check(err)
		return r
	}
	refer(root, "application/vnd.dev.sigstore.bundle.v0.3+json")
	refer(refer(root.Children[0], "application/spdx+json"), "application/vnd.dev.sigstore.bundle.v0.3+json")
}

// referrers ecr|upstream NAME:TAG COUNT reads, with oras-go, everything that refers to an
// image, to its children and to that in turn, and insists on how much it is.
func (s *stage) referrers(ts *testscript.TestScript, _ bool, args []string) {
	host, credential := strings.TrimPrefix(s.upstream.direct, "http://"), orasauth.EmptyCredential
	if args[0] == "ecr" {
		host, credential = s.ecr.Host, orasauth.Credential{Username: "AWS", Password: s.token(ts)}
	}
	want, err := strconv.Atoi(args[2])
	ts.Check(err)
	name, tag, _ := strings.Cut(args[1], ":")
	repo, err := remote.NewRepository(host + "/" + name)
	ts.Check(err)
	repo.PlainHTTP = true
	repo.Client = &orasauth.Client{Credential: orasauth.StaticCredential(host, credential)}
	root, err := repo.Resolve(s.t.Context(), tag)
	ts.Check(err)
	have, err := countReferrers(s.t.Context(), repo, root, true)
	ts.Check(err)
	if have != want {
		ts.Fatalf("%s has %d referrers, and %d were expected", args[1], have, want)
	}
}

// countReferrers reads a manifest, what it consists of where it is an index, and what
// refers to it.
func countReferrers(ctx context.Context, repo *remote.Repository, of v1.Descriptor, whole bool) (int, error) {
	raw, err := content.FetchAll(ctx, repo, of)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", of.Digest, err)
	}
	var index v1.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return 0, err
	}
	n := 0
	for _, child := range index.Manifests {
		if whole {
			more, err := countReferrers(ctx, repo, child, true)
			if err != nil {
				return 0, err
			}
			n += more
		}
	}
	err = repo.Referrers(ctx, of, "", func(referrers []v1.Descriptor) error {
		for _, r := range referrers {
			if r.ArtifactType == "" {
				return fmt.Errorf("%s is listed without its artifact type", r.Digest)
			}
			more, err := countReferrers(ctx, repo, r, false)
			if err != nil {
				return err
			}
			n += 1 + more
		}
		return nil
	})
	return n, err
}

// same-all UPSTREAM:TAG ECR:TAG is same, and insists on the same referrers, too. The
// second may be upstream's, as upstream/NAME:TAG.
func (s *stage) sameAll(ts *testscript.TestScript, neg bool, args []string) {
	base, password := s.ecr.URL, s.token(ts)
	name, there := strings.CutPrefix(args[1], "upstream/")
	if there {
		base, password = s.upstream.direct, ""
	}
	check(ts, neg, walker.SameAll(s.walkAll(ts, s.upstream.direct, args[0], ""), s.walkAll(ts, base, name, password)))
}

func (s *stage) walkAll(ts *testscript.TestScript, base, name, password string) walker.Tree {
	repo, reference, _ := strings.Cut(name, ":")
	o := walker.Options{Base: base, Repository: repo, Reference: reference, Deep: true}
	if password != "" {
		o.Username, o.Password = "AWS", password
	}
	tree, err := walker.CheckAll(s.t.Context(), o)
	ts.Check(err)
	return tree
}
