package cli

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/netip"
	"slices"

	imagetypes "go.podman.io/image/v5/types"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/bucket"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/dockerhub"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/layout"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/listing"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/metrics"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/library"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/shard"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/tracing"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/trust"
)

// wiring is everything that a run talks through. Close ends it.
type wiring struct {
	opts       wireOptions
	session    *ecr.Session
	registries *ecr.Registries
	source     registry.Source
	target     registry.Target

	upstreams, destinations asked // what source and target ask through, and as whom

	elsewhere map[string]registry.Target // by the scheme of places that are no registries, see again
	lister    *listing.Lister
	judged    library.Options // how a trust policy's signatures are read
	close     []func() error
	places    []func() error // what closes elsewhere
}

// wireOptions are the parts of a command's flags and file that wiring needs.
type wireOptions struct {
	run        *runFlags
	shard      shard.Shard // whose part of the limits this is
	file       *config.Config
	upstream   asking
	writing    map[string]auth.Provider // who writes to a host, where flags say
	passwords  bool                     // whether an operator names upstreams, so that ECR passwords may be used for them
	named      bool                     // whether operators alone do, so that docker's own auth files and who the machine is to other clouds may be used for them too
	files      bool                     // whether docker's own auth files serve destinations that are not ECR
	certDir    string
	retryTimes int
	readOnly   bool
	partial    bool             // whether only some of the mirrors run
	metrics    *metrics.Metrics // hear of every request; nil means nobody does
	traces     *tracing.Tracing // follow every request; nil means nobody does
	egress     []netip.Prefix   // that --allow-egress names
	log        *zap.Logger
}

// wire opens AWS and prepares both sides. It contacts no registry.
func wire(ctx context.Context, o wireOptions) (*wiring, error) {
	session, err := ecr.Open(ctx, ecr.Options{
		Role:       ecr.Role{ARN: o.run.roleARN},
		RegistryID: o.run.registryID,
		UserAgent:  "ecr-mirror-sync",
		Observer:   hearsAWS(o.metrics),
		Tracer:     followsAWS(o.traces),
		Log:        o.log,
	})
	if err != nil {
		return nil, err
	}
	w := &wiring{opts: o, session: session, registries: ecr.NewRegistries(session, nil), close: []func() error{session.Close}}
	if err := w.nameRegistries(ctx); err != nil {
		return nil, err
	}
	upstream, err := w.upstream()
	if err != nil {
		return nil, err
	}
	destination, err := w.destination()
	if err != nil {
		return nil, err
	}
	settings := o.settings(o.certDir)
	sources := w.client(upstream, settings, w.egress(o.named))
	targets := w.client(destination, o.settings(""), w.egress(true))
	w.upstreams, w.destinations = asked{sources, upstream}, asked{targets, destination}
	w.source, w.target = sources, ecr.NewTarget(targets, w.registries)
	w.judged = o.library(upstream, settings)
	w.lister = w.listers(sources, upstream)
	if o.run.transport == "library" {
		w.throughLibrary(sources, o.library(destination, o.settings("")))
	}
	if o.readOnly {
		w.target = registry.ReadOnly(w.target)
	}
	w.openPlaces()
	return w, nil
}

// again prepares for another run. Connections and tokens stay; what buckets, archives and
// listings remember is of one run, since others write there meanwhile.
func (w *wiring) again() error {
	w.lister.NextRun()
	err := w.closePlaces()
	w.openPlaces()
	return err
}

func (w *wiring) openPlaces() {
	w.elsewhere = w.noRegistries()
	if w.opts.readOnly {
		for scheme, target := range w.elsewhere {
			w.elsewhere[scheme] = registry.ReadOnly(target)
		}
	}
}

func (w *wiring) closePlaces() error {
	var errs []error
	for _, c := range w.places {
		errs = append(errs, c())
	}
	w.places = nil
	return errors.Join(errs...)
}

// noRegistries returns the targets of places that are no registries, by the scheme that
// references to them begin with. They cost nothing until they are used.
func (w *wiring) noRegistries() map[string]registry.Target {
	buckets := bucket.New(bucket.Options{
		Config:     w.session.Config(),
		Settings:   bucketsOf(w.opts.file),
		RetryTimes: w.opts.retryTimes,
		Log:        w.opts.log,
	})
	archives := &layout.Archives{}
	w.places = append(w.places, buckets.Close, archives.Close)
	return map[string]registry.Target{
		ref.SchemeS3: buckets, ref.SchemeR2: buckets,
		ref.SchemeLayout: &layout.Layouts{}, ref.SchemeArchive: archives,
	}
}

// nameRegistries tells what the file says of ECR's hosts, before anybody searches them.
func (w *wiring) nameRegistries(ctx context.Context) error {
	for _, host := range slices.Sorted(maps.Keys(w.opts.file.File.Registries)) {
		said := w.opts.file.File.Registries[host].ECR
		if said == nil {
			continue
		}
		if err := w.nameRegistry(ctx, host, *said); err != nil {
			return usageErrorf("registries.%s.ecr: %w", host, err)
		}
	}
	return nil
}

func (w *wiring) nameRegistry(ctx context.Context, host string, said config.ECR) error {
	access := ecr.Access{
		Role:     ecr.Role{ARN: said.Role, ExternalID: said.ExternalID, SessionName: said.SessionName},
		Profile:  said.Profile,
		Endpoint: said.Endpoint,
	}
	if said.Public || ecr.IsPublicHost(host) {
		return w.registries.NamePublic(ctx, host, access)
	}
	return w.registries.Name(ctx, host, ecr.Location{Account: said.Account, Region: said.Region}, access)
}

// upstream returns who asks upstream registries: who the flags say, else who the file
// says, else, where only operators name upstreams, who the machine is.
func (w *wiring) upstream() (auth.Provider, error) {
	if w.opts.upstream.anonymously {
		return auth.Anonymous{}, nil
	}
	var machine auth.Chain
	if w.opts.passwords {
		machine = append(machine, w.registries.Reading())
	}
	if w.opts.named && !w.opts.upstream.file {
		machine = append(machine, auth.DefaultFiles())
	}
	from := clouds{w.opts.settings(w.opts.certDir), w.opts.log}
	if w.opts.named {
		machine = append(machine, from.machine()...)
	}
	said, err := credentials(w.opts.file, machine, from)
	return append(slices.Clone(w.opts.upstream.given), said), err
}

// destination returns who writes: who the flags say, else who the file says, else who the
// machine is.
func (w *wiring) destination() (auth.Provider, error) {
	machine := auth.Chain{w.registries}
	if w.opts.files {
		machine = append(machine, auth.DefaultFiles())
	}
	from := clouds{w.opts.settings(""), w.opts.log}
	machine = append(machine, from.machine()...)
	said, err := credentials(w.opts.file, machine, from)
	if len(w.opts.writing) == 0 {
		return said, err
	}
	return auth.ByHost{Hosts: w.opts.writing, Rest: said}, err
}

// client makes one side's transport. The sides do not share one, so that neither can
// be given the other's credentials.
func (w *wiring) client(from auth.Provider, settings func(string) registry.Settings, reach egress.Policy) *transport.Client {
	c := transport.New(transport.Options{
		Credentials: from,
		Settings:    settings,
		UserAgent:   "ecr-mirror-sync/" + version,
		RetryTimes:  w.opts.retryTimes,
		Quota:       w.quota,
		Observer:    hearsRegistries(w.opts.metrics),
		Tracer:      followsRegistries(w.opts.traces),
		Egress:      reach,
		Log:         w.opts.log,
	})
	w.close = append(w.close, c.Close)
	return c
}

// quota returns what of a host's grant in a second is this process's.
func (w *wiring) quota(host string) registry.Quota {
	all := quota(w.registries.Quota(host), w.opts.run.limits.over(w.opts.file.File.Registries[host].Limits))
	return shared(all, w.opts.shard)
}

// throughLibrary moves content through containers/image's own transport instead.
func (w *wiring) throughLibrary(sources registry.Target, destination library.Options) {
	from, to := library.New(sources, w.judged), library.New(w.target, destination)
	w.source, w.target = from, to
	w.close = append(w.close, from.Close, to.Close)
}

// settings returns how a host is spoken to, with the certificates of a directory where
// one is named.
func (o wireOptions) settings(certDir string) func(host string) registry.Settings {
	return settingsOf(o.file, o.run, certDir)
}

func (o wireOptions) library(from auth.Provider, settings func(string) registry.Settings) library.Options {
	return library.Options{
		Credentials: from,
		Settings: func(host string) registry.Settings {
			s := settings(host)
			if s.Security == registry.Verified && transport.IsLoopback(host) {
				s.Security = registry.Insecure // as the native transport has it
			}
			return s
		},
		UserAgent:  "ecr-mirror-sync/" + version,
		RetryTimes: o.retryTimes,
	}
}

// listers returns the ways in which registries are asked for their repositories.
func (w *wiring) listers(catalog registry.Lister, upstream auth.Provider) *listing.Lister {
	hub := dockerhub.New(dockerhub.Options{
		Credentials: upstream, UserAgent: "ecr-mirror-sync/" + version, RetryTimes: w.opts.retryTimes, Log: w.opts.log,
	})
	w.close = append(w.close, hub.Close)
	return listing.New(listing.Options{Catalog: &catalogs{registries: catalog}, ECR: listingECR{w}, Hub: hub})
}

// catalogs list registries by their own catalogue, and directories by what is in them.
type catalogs struct {
	registries registry.Lister
	layouts    layout.Layouts
}

func (c *catalogs) Repositories(ctx context.Context, host string) iter.Seq2[string, error] {
	if (ref.Repository{Host: host}).Local() {
		return c.layouts.Repositories(ctx, host)
	}
	return c.registries.Repositories(ctx, host)
}

// listingECR lists ECR's registries, also that of an emulator.
type listingECR struct{ *wiring }

func (p listingECR) PublicRepositories(ctx context.Context) iter.Seq2[string, error] {
	return p.registries.PublicRepositories(ctx)
}

func (p listingECR) Repositories(ctx context.Context, host string) iter.Seq2[string, error] {
	if err := p.know(ctx, host, p.session.Region()); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return p.registries.Repositories(ctx, host)
}

// scoped returns the session that searches a scope.
func (w *wiring) scoped(s config.Scope) *ecr.Session {
	return w.session.As(ecr.Role{ARN: s.Role, ExternalID: s.ExternalID, SessionName: s.SessionName}, s.Account)
}

// search returns what looks for resource tags in one scope.
func (w *wiring) search(c *command, s config.Scope) *ecr.Finder {
	return ecr.NewFinder(w.scoped(s), w.registries, ecr.FinderOptions{
		Keys:     s.Keys(),
		Regions:  s.Regions,
		Prefixes: s.Prefixes,
		Route:    c.settled.route,
	})
}

func (w *wiring) Close() error {
	errs := []error{w.closePlaces()}
	for _, c := range slices.Backward(w.close) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// Source and Target make the wiring the copy.Places of a run: all upstreams that are
// registries are reached one way, and so are all such destinations.
func (w *wiring) Source(a plan.Action) registry.Source {
	if source, ok := w.elsewhere[a.From.Repository.Scheme()]; ok {
		return source
	}
	return w.source
}

// Target returns the way to write to the place of an action's destination.
func (w *wiring) Target(a plan.Action) registry.Target {
	if target, ok := w.elsewhere[a.To.Repository.Scheme()]; ok {
		return target
	}
	return w.target
}

// judge reads the trust policy that the flags choose.
func (f *copyFlags) judge(w *wiring) (*trust.Judge, error) {
	if f.insecurePolicy {
		return trust.AcceptAll(), nil
	}
	judge, err := trust.ReadFile(f.policy, func(ctx context.Context, r ref.Reference) (imagetypes.ImageSource, error) {
		if r.Repository.Local() {
			return w.elsewhere[r.Repository.Scheme()].OpenSource(ctx, r.Repository)
		}
		r.Tag = ""
		return library.OpenImage(ctx, r, w.judged)
	}, w.source)
	if err != nil {
		return nil, usageError{err}
	}
	return judge, nil
}
