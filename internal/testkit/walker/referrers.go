package walker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Referrers returns what a registry says refers to a digest, as any client would ask:
// the referrers API, or where there is none the index under the fallback tag. What the
// Options say of a reference plays no part.
func Referrers(ctx context.Context, o Options, subject ref.Digest) ([]v1.Descriptor, error) {
	w := walk{client: newClient(o), repository: o.Base + "/v2/" + o.Repository}
	raw, err := w.referrers(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("referrers of %s in %s/%s: %w", subject, o.Base, o.Repository, err)
	}
	var index v1.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("referrers of %s: %w", subject, err)
	}
	return index.Manifests, nil
}

// referrers reads the index of a digest's referrers.
func (w *walk) referrers(ctx context.Context, subject ref.Digest) ([]byte, error) {
	resp, err := w.client.do(ctx, http.MethodGet, w.repository+"/referrers/"+string(subject))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		if resp.Header.Get("Link") != "" {
			return nil, errors.New("it comes in pages, which is not read here")
		}
		return io.ReadAll(io.LimitReader(resp.Body, maxManifest))
	case http.StatusNotFound:
	default:
		return nil, fmt.Errorf("the registry answered %s", resp.Status)
	}
	m, err := w.fetch(ctx, strings.Replace(string(subject), ":", "-", 1))
	if errors.Is(err, ErrNotFound) {
		return []byte("{}"), nil
	}
	return m.Raw, err
}

// A Tree is a walk of a reference and of everything that refers to what was found.
type Tree struct {
	Report
	Referrers map[ref.Digest]Tree // by their digests; nil where there are none
}

// Err returns all damage as one error, that of referrers included, or nil where there
// is none.
func (t Tree) Err() error {
	errs := []error{t.Report.Err()}
	for d, above := range t.Referrers {
		if err := above.Err(); err != nil {
			errs = append(errs, fmt.Errorf("referrer %s: %w", d, err))
		}
	}
	return errors.Join(errs...)
}

// CheckAll is Check, followed by a walk of everything that refers to the manifests that
// it found, and to that in turn. A referrer that does not name its subject, and one that
// is listed and absent, is Damage of the walk it belongs to.
func CheckAll(ctx context.Context, o Options) (Tree, error) { return checkAll(ctx, o, 0) }

func checkAll(ctx context.Context, o Options, depth int) (Tree, error) {
	report, err := Check(ctx, o)
	if err != nil {
		return Tree{}, err
	}
	all := Tree{Report: report}
	if depth > maxDepth {
		return all, fmt.Errorf("more than %d referrers above one another", maxDepth)
	}
	for _, m := range report.Manifests {
		if depth > 0 && m.Digest != report.Root {
			continue // what a referrer consists of has no referrers of its own
		}
		listed, err := Referrers(ctx, o, m.Digest)
		if err != nil {
			return all, err
		}
		for _, d := range listed {
			if err := all.follow(ctx, o, m.Digest, d, depth); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// follow walks one entry of a list of referrers.
func (t *Tree) follow(ctx context.Context, o Options, subject ref.Digest, d v1.Descriptor, depth int) error {
	o.Reference = string(d.Digest)
	above, err := checkAll(ctx, o, depth+1)
	if errors.Is(err, ErrNotFound) {
		t.Damage = append(t.Damage, Damage{Digest: d.Digest, Problem: "listed as a referrer, and missing"})
		return nil
	}
	if err != nil {
		return err
	}
	var m struct {
		Subject v1.Descriptor `json:"subject"`
	}
	root := above.Manifests[0]
	if err := json.Unmarshal(root.Raw, &m); err != nil || m.Subject.Digest != subject {
		t.Damage = append(t.Damage, Damage{Digest: d.Digest, Problem: "listed as a referrer of " + string(subject) + ", and its subject is " + string(m.Subject.Digest)})
	}
	if int64(len(root.Raw)) != d.Size || root.MediaType != d.MediaType {
		t.Damage = append(t.Damage, Damage{Digest: d.Digest, Problem: fmt.Sprintf("listed with %d bytes of %s, and has %d of %s", d.Size, d.MediaType, len(root.Raw), root.MediaType)})
	}
	if t.Referrers == nil {
		t.Referrers = map[ref.Digest]Tree{}
	}
	t.Referrers[d.Digest] = above
	return nil
}

// SameAll is Same for trees: it returns an error also where one has a referrer that the
// other lacks.
func SameAll(a, b Tree) error {
	if err := Same(a.Report, b.Report); err != nil {
		return err
	}
	for d := range b.Referrers {
		if _, ok := a.Referrers[d]; !ok {
			return fmt.Errorf("only the second has the referrer %s", d)
		}
	}
	for d, above := range a.Referrers {
		other, ok := b.Referrers[d]
		if !ok {
			return fmt.Errorf("only the first has the referrer %s", d)
		}
		if err := SameAll(above, other); err != nil {
			return fmt.Errorf("referrer %s: %w", d, err)
		}
	}
	return nil
}
