package cli

import (
	"context"
	"errors"
	"slices"

	imagetypes "go.podman.io/image/v5/types"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/library"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/trust"
)

// The pace of PutImage on an ECR registry: just below the ten a second that AWS grants
// an account and Region by default, with room for the children of one image at once.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
const (
	manifestWrites      = rate.Limit(9)
	manifestWritesBurst = 5
)

// wiring is everything that a run talks through. Close ends it.
type wiring struct {
	session    *ecr.Session
	registries *ecr.Registries
	source     registry.Source
	target     registry.Target
	judged     library.Options // how a trust policy's signatures are read
	close      []func() error
}

// wireOptions are the parts of a command's flags that wiring needs.
type wireOptions struct {
	run        *runFlags
	upstream   auth.Chain // credentials for upstream registries
	named      bool       // whether an operator named the upstream, so that ECR passwords may be used for it
	files      bool       // whether docker's own auth files serve destinations that are not ECR
	certDir    string
	retryTimes int
	readOnly   bool
	log        *zap.Logger
}

// wire opens AWS and prepares both sides. It contacts no registry.
func wire(ctx context.Context, o wireOptions) (*wiring, error) {
	session, err := ecr.Open(ctx, ecr.Options{
		Role:       ecr.Role{ARN: o.run.roleARN},
		RegistryID: o.run.registryID,
		UserAgent:  "ecr-mirror-sync",
		Log:        o.log,
	})
	if err != nil {
		return nil, err
	}
	w := &wiring{session: session, registries: ecr.NewRegistries(session, nil)}
	insecure := func(host string) bool { return slices.Contains(o.run.insecure, host) }
	upstream := o.upstream
	if o.named {
		upstream = append(auth.Chain{w.registries}, upstream...)
	}
	destination := auth.Chain{w.registries}
	if o.files {
		destination = append(destination, auth.DefaultFiles())
	}
	sources := w.client(o, upstream, insecure, o.certDir)
	targets := w.client(o, destination, insecure, "")
	w.source, w.target = sources, ecr.NewTarget(targets, w.registries)
	w.judged = o.library(upstream, insecure, o.certDir)
	if o.run.transport == "library" {
		w.throughLibrary(sources, o.library(destination, insecure, ""))
	}
	if o.readOnly {
		w.target = registry.ReadOnly(w.target)
	}
	return w, nil
}

// client makes one side's transport. The sides do not share one, so that neither can
// be given the other's credentials.
func (w *wiring) client(o wireOptions, credentials auth.Provider, insecure func(string) bool, certDir string) *transport.Client {
	c := transport.New(transport.Options{
		Credentials: credentials,
		Insecure:    insecure,
		CertDir:     certDir,
		UserAgent:   "ecr-mirror-sync/" + version,
		RetryTimes:  o.retryTimes,
		ManifestWrites: func(host string) *rate.Limiter {
			if _, isECR := w.registries.Locate(host); isECR {
				return rate.NewLimiter(manifestWrites, manifestWritesBurst)
			}
			return nil
		},
		Log: o.log,
	})
	w.close = append(w.close, c.Close)
	return c
}

// throughLibrary moves content through containers/image's own transport instead.
func (w *wiring) throughLibrary(sources registry.Target, destination library.Options) {
	from, to := library.New(sources, w.judged), library.New(w.target, destination)
	w.source, w.target = from, to
	w.close = append(w.close, from.Close, to.Close)
}

func (o wireOptions) library(credentials auth.Provider, insecure func(string) bool, certDir string) library.Options {
	return library.Options{
		Credentials: credentials,
		Insecure:    func(host string) bool { return transport.IsLoopback(host) || insecure(host) },
		CertDir:     certDir,
		UserAgent:   "ecr-mirror-sync/" + version,
		RetryTimes:  o.retryTimes,
	}
}

func (w *wiring) Close() error {
	var errs []error
	for _, c := range slices.Backward(w.close) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// Source and Target make the wiring the copy.Places of a run: every mirror's upstream
// is reached one way, and so is every target.
func (w *wiring) Source(plan.Action) registry.Source { return w.source }

// Target returns the one way to write.
func (w *wiring) Target(plan.Action) registry.Target { return w.target }

// judge reads the trust policy that the flags choose.
func (f *copyFlags) judge(w *wiring) (*trust.Judge, error) {
	if f.insecurePolicy {
		return trust.AcceptAll(), nil
	}
	judge, err := trust.ReadFile(f.policy, func(ctx context.Context, r ref.Reference) (imagetypes.ImageSource, error) {
		r.Tag = ""
		return library.OpenImage(ctx, r, w.judged)
	})
	if err != nil {
		return nil, usageError{err}
	}
	return judge, nil
}
