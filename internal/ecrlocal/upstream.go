package ecrlocal

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
)

// Upstream is distribution's own registry, unchanged, with a journal and faults around it: a
// real registry for others to mirror from. It asks for no credentials, has no referrers
// endpoint, and allows deletion. It is an [http.Handler].
type Upstream struct {
	app       *handlers.App
	journal   *journal
	faults    faults
	temporary string // a directory to remove at the end; "" for none
}

// UpstreamOptions configures an [Upstream].
type UpstreamOptions struct {
	// Dir keeps the content; "" means a temporary directory.
	Dir string
	// JournalWriter receives every request as a line of JSON; nil means none.
	JournalWriter io.Writer
	// CatalogPage is the most repositories on one page of the catalogue; 0 means
	// distribution's own default, 1000. Who asks for more is refused.
	CatalogPage int
}

// NewUpstream returns a registry with the content of opts.Dir. The caller closes it.
//
// Closing leaves one goroutine behind, distribution's event broadcaster, which cannot be
// stopped.
func NewUpstream(opts UpstreamOptions) (*Upstream, error) {
	quietDistribution()
	u := &Upstream{journal: newJournal(time.Now, 0, opts.JournalWriter)}
	dir := opts.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "ecrlocal-registry-"); err != nil {
			return nil, err
		}
		u.temporary = dir
	}
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem":  configuration.Parameters{"rootdirectory": dir},
			"delete":      configuration.Parameters{"enabled": true},
			"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	config.Catalog.MaxEntries = cmp.Or(opts.CatalogPage, 1000) // which only reading a file would set
	config.HTTP.Secret = string(newSealer())
	config.Validation.Disabled = true // indexes may lack children, as upstreams' sometimes do
	u.app = handlers.NewApp(context.Background(), config)
	return u, nil
}

// Close stops the registry and removes its temporary directory, if it has one.
func (u *Upstream) Close() error {
	err := u.app.Shutdown()
	if u.temporary != "" {
		err = errors.Join(err, os.RemoveAll(u.temporary))
	}
	return err
}

// Journal returns the requests so far, as [Server.Journal] does.
func (u *Upstream) Journal() []Entry { return u.journal.snapshot() }

// ResetJournal forgets the requests so far.
func (u *Upstream) ResetJournal() { u.journal.reset() }

// FailNext makes the next n requests of op fail as f says, as [Server.FailNext] does.
func (u *Upstream) FailNext(op string, n int, f Fault) { u.faults.failNext(op, n, f) }

// ServeHTTP implements [http.Handler].
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := u.journal.begin(w, r)
	completed := false
	defer func() { x.finish(completed) }()
	u.serve(x, r)
	completed = true
}

func (u *Upstream) serve(x *exchange, r *http.Request) {
	rt := parseRoute(r)
	x.describe(func(e *Entry) {
		e.Plane, e.Op, e.Repository, e.Reference = PlaneRegistry, rt.op, rt.name, rt.reference
	})
	after, proceed := u.faults.inject(x, r, func(f *Fault) { writeRegistryError(x, f.registryError()) })
	if !proceed {
		return
	}
	defer after()
	u.app.ServeHTTP(x, r)
}
