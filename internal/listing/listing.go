// Package listing finds out which repositories the mirrors of a part of a registry stand
// for. It asks each registry the way its pattern says, once for all patterns of a run,
// and remembers the answer for as long as a pattern allows.
//
// A list that breaks off is no list: its mirrors are an error, never a part of
// themselves.
package listing

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// ECR is how ECR is asked. *ecr.Registries is one.
type ECR interface {
	registry.Lister
	// PublicRepositories lists the repositories of the account at ECR Public, with their
	// alias.
	PublicRepositories(ctx context.Context) iter.Seq2[string, error]
}

// Hub is how Docker Hub is asked. *dockerhub.Client is one. Its lists, and those of ECR,
// are like those of registry.Lister: of the paths of repositories, each once, and not to
// be used after an error.
type Hub interface {
	// Namespace lists the repositories of a user or an organization.
	Namespace(ctx context.Context, namespace string) iter.Seq2[string, error]
	// Search lists what Docker Hub finds for a text, the best first.
	Search(ctx context.Context, text string) iter.Seq2[string, error]
}

// Options are the ways to ask. A pattern that wants one which is nil is an error.
type Options struct {
	Catalog registry.Lister // a registry's own catalogue
	ECR     ECR
	Hub     Hub

	Now func() time.Time // nil means time.Now
}

// Lister lists registries and remembers what it saw. It is safe for concurrent use. A
// process that runs once needs one for the run; one that goes on needs one for its life,
// and tells it of each run with NextRun.
type Lister struct {
	opts    Options
	flights singleflight.Group

	mu    sync.Mutex
	run   int
	known map[string]list
}

// list is what a registry answered to one question.
type list struct {
	names    []string // as they came, each once
	complete bool     // whether there were no more
	err      error    // instead of names
	run      int      // in which it was asked
	at       time.Time
}

// New returns a Lister. It does no I/O.
func New(opts Options) *Lister {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Lister{opts: opts, known: map[string]list{}}
}

// NextRun begins a run: what was listed before is listed again, unless a pattern's
// CacheDuration says that it need not be. Failures are never remembered so long.
func (l *Lister) NextRun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run++
}

// Mirrors lists p's registry and returns what p makes of it, see config.Pattern.Expand:
// the error beside mirrors names those that cannot be. Where the registry cannot be
// listed, or lists nothing at all, there is only the error. ECR Public shows nobody the
// repositories of others, so that there it is an error, too, if nothing matches.
//
// A registry is read no further than p needs. One match more than MaxItems decides that
// there are too many; of a search, MaxItems results are looked at.
func (l *Lister) Mirrors(ctx context.Context, p config.Pattern) ([]discover.Mirror, error) {
	names, err := l.names(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Place(), err)
	}
	mirrors, err := p.Expand(names)
	if p.Lister == config.ListECRPublic && err == nil && len(mirrors) == 0 {
		return nil, fmt.Errorf("%s: ECR Public shows the repositories of one's own account alone, and none of these %d matches: name other accounts' repositories one by one: %w", p.Place(), len(names), failure.ErrNotFound)
	}
	return mirrors, err
}

// names returns the list that p needs, from memory or from the registry. Callers who
// want the same list wait for the one that reads it. Where that one gives up, or needs
// less of the list than others, the next takes over.
func (l *Lister) names(ctx context.Context, p config.Pattern) ([]string, error) {
	question := questionOf(p)
	for ctx.Err() == nil {
		if known, ok := l.remembered(question, p); ok {
			return known.names, known.err
		}
		flight := l.flights.DoChan(question, func() (any, error) {
			l.ask(ctx, question, p)
			return nil, nil
		})
		select {
		case <-flight:
		case <-ctx.Done():
		}
	}
	return nil, context.Cause(ctx)
}

// questionOf names what is asked: patterns of the same question share a list.
func questionOf(p config.Pattern) string {
	return strings.Join([]string{string(p.Lister), p.Registry, p.Namespace, p.Search}, "\x00")
}

// remembered returns what is known, if it is fresh and long enough for p.
func (l *Lister) remembered(question string, p config.Pattern) (list, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.known[question]
	if !ok {
		return list{}, false
	}
	age := l.opts.Now().Sub(known.at)
	fresh := known.run == l.run || known.err == nil && age >= 0 && age < p.CacheDuration
	return known, fresh && (known.err != nil || known.complete || decided(p, known.names))
}

// ask reads a registry as far as p needs, and remembers what came of it. Where ctx has
// ended that is nothing: it says nothing about the registry.
func (l *Lister) ask(ctx context.Context, question string, p config.Pattern) {
	l.mu.Lock()
	answer := list{run: l.run, at: l.opts.Now(), complete: true}
	l.mu.Unlock()
	count := tally{pattern: p}
	seen := map[string]bool{}
	for name, err := range l.repositories(ctx, p) {
		if err != nil {
			answer.names, answer.err = nil, err
			break
		}
		if name = strings.Trim(name, "/"); seen[name] { // as Pattern.Expand counts them
			continue
		}
		seen[name] = true
		answer.names = append(answer.names, name)
		if count.add(name); count.decided() {
			answer.complete = false // for all that is known
			break
		}
	}
	if answer.err == nil && len(answer.names) == 0 {
		answer.err = nothing(p)
	}
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[question] = answer
}

// repositories chooses the way to ask.
func (l *Lister) repositories(ctx context.Context, p config.Pattern) iter.Seq2[string, error] {
	switch {
	case p.Lister == config.ListCatalog && l.opts.Catalog != nil:
		return l.opts.Catalog.Repositories(ctx, p.Registry)
	case p.Lister == config.ListECR && l.opts.ECR != nil:
		return l.opts.ECR.Repositories(ctx, p.Registry)
	case p.Lister == config.ListECRPublic && l.opts.ECR != nil:
		return l.opts.ECR.PublicRepositories(ctx)
	case p.Lister == config.ListDockerHub && l.opts.Hub != nil:
		return l.opts.Hub.Namespace(ctx, p.Namespace)
	case p.Lister == config.ListDockerHubSearch && l.opts.Hub != nil:
		return l.opts.Hub.Search(ctx, p.Search)
	}
	return func(yield func(string, error) bool) {
		yield("", fmt.Errorf("%s cannot be listed with %s: %w", p.Registry, p.Lister, failure.ErrUnsupported))
	}
}

// nothing is the error for an empty list. Many registries answer with one to those who
// may not see the list, and a mirror of nothing would go unnoticed.
func nothing(p config.Pattern) error {
	switch p.Lister {
	case config.ListDockerHub:
		return fmt.Errorf("namespace %s of Docker Hub has no repositories to be seen; check its name, or give credentials for docker.io: %w", p.Namespace, failure.ErrNotFound)
	case config.ListDockerHubSearch:
		return fmt.Errorf("searching Docker Hub for %q: %w", p.Search, failure.ErrNotFound)
	default:
		return fmt.Errorf("%s lists no repositories; name them one by one, or give credentials that may list them: %w", p.Registry, failure.ErrNotFound)
	}
}

// tally counts a list as a pattern's MaxItems does.
type tally struct {
	pattern          config.Pattern
	listed, matching int
}

func (t *tally) add(name string) {
	t.listed++
	if t.pattern.Matches(name) {
		t.matching++
	}
}

// decided reports that whatever else is on the list makes no difference to the pattern.
func (t *tally) decided() bool {
	switch {
	case t.pattern.MaxItems == 0:
		return false
	case t.pattern.Lister == config.ListDockerHubSearch:
		return t.listed >= t.pattern.MaxItems
	}
	return t.matching > t.pattern.MaxItems
}

func decided(p config.Pattern, names []string) bool {
	count := tally{pattern: p}
	for _, name := range names {
		count.add(name)
	}
	return count.decided()
}
