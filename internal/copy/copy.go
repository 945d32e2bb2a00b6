// Package copy carries out a plan: it moves the content of each image to its
// destination, verified, and only then the tag.
//
// The order is what keeps the first promise, that a tag always resolves to a complete
// image: blobs before the manifest that names them, children before their index, all
// of it by digest; then the root, under its tag and in one request (docs/adr/0010); then
// the tag is read back and its bytes are hashed. Whatever fails in between, the tag still
// is what it was.
//
// The walk is this package's own, over containers/image's ImageSource and
// ImageDestination (docs/adr/0001 says why); it knows no registry and no HTTP.
package copy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	imagetypes "go.podman.io/image/v5/types"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Options tunes a Copier. The zero Options copies as many images at a time as it takes to
// keep the streams of blobs busy.
type Options struct {
	Images           int           // images copied at once; 0 means what it takes, -1 means all
	RetryTimes       int           // attempts for a blob after the first
	Timeout          time.Duration // for one image; 0 leaves it to the endpoints, which notice a stall
	RequireReferrers bool          // an image whose referrers are incomplete fails, and its tag is not written
	MaxErrors        int           // once this many actions have failed, nothing new begins; 0 goes on whatever fails
	Stop             func() error  // not nil once nothing new is to begin, though what is under way goes on; nil means never
	Seen             Seen
	Damaged          Damaged
	Spool            Spool
	Events           Events
	Log              *zap.Logger // nil means no logging
}

// Stopped says why nothing new is to begin, nil where it may.
func (o Options) Stopped() error {
	if o.Stop == nil {
		return nil
	}
	return o.Stop()
}

// Seen is what planning has seen of the destinations, so that it need not be asked again.
// The zero Seen is of a plan that nobody knows the age of.
type Seen struct {
	At time.Time // when it began to look
}

// Damaged is content that destinations have, or say that they have, and that is not what
// its digest says. It is brought all the same where something needs it.
type Damaged map[ref.Repository]map[ref.Digest]bool

// Add notes that a repository's content of a digest is damaged.
func (d Damaged) Add(repo ref.Repository, digest ref.Digest) {
	if d[repo] == nil {
		d[repo] = map[ref.Digest]bool{}
	}
	d[repo][digest] = true
}

// freshFor is how long after the plan has seen a tag nobody is expected to have changed
// it. It saves a request, and not the look just before the tag is written.
const freshFor = time.Minute

func (s Seen) fresh() bool { return time.Since(s.At) < freshFor }

// Events observes a run. Nil funcs are silence. Calls come from many goroutines.
type Events struct {
	Started  func(plan.Action)
	Moved    func(a plan.Action, bytes int) // blob bytes on their way to the destination
	Finished func(plan.Result)
	Created  func(ref.Repository) // a repository was made

	// Image and Piece are told what begins, and return the context under which it is done:
	// the one they are given, or one of it that knows more. What else they return is called
	// once when it has ended. Repeated is told under whose context something is tried again.
	Image    func(context.Context, plan.Action) (context.Context, func(plan.Result))
	Piece    func(context.Context, Piece) (context.Context, func(error))
	Repeated func(ctx context.Context, err error, pause time.Duration)
}

// Piece is a part of an image that is brought to a destination by itself.
type Piece struct {
	Kind   PieceKind
	To     ref.Reference
	Digest ref.Digest
	Size   int64
}

// PieceKind says what a Piece is.
type PieceKind string

// The kinds of pieces. A tag is the image's root, under its tag.
const (
	PieceBlob     PieceKind = "blob"
	PieceManifest PieceKind = "manifest"
	PieceTag      PieceKind = "tag"
)

// image tells that an action begins.
func (e Events) image(ctx context.Context, a plan.Action) (context.Context, func(plan.Result)) {
	if e.Image == nil {
		return ctx, func(plan.Result) {}
	}
	return e.Image(ctx, a)
}

// piece tells that a piece begins.
func (e Events) piece(ctx context.Context, p Piece) (context.Context, func(error)) {
	if e.Piece == nil {
		return ctx, func(error) {}
	}
	return e.Piece(ctx, p)
}

// Places says where the two sides of an action are. For actions with the same
// repository on a side it names the same place: endpoints are shared by repository.
type Places interface {
	Source(plan.Action) registry.Source
	Target(plan.Action) registry.Target
}

// Copier carries out plans. One Copier serves one run: what it has copied it does not
// copy again.
type Copier struct {
	opts    Options
	places  Places
	library *Library
	log     *zap.Logger

	beginning *semaphore.Weighted // images
	queue     *queue
	streams   *semaphore.Weighted
	blobsDone flights[content, struct{}]
	nodesDone flights[content, bool] // whether the registry lists what was written as a referrer
	referred  flights[referral, plan.Referrers]
	cosigned  flights[referral, plan.Referrers]
	filled    flights[referral, plan.Referrers] // gaps
	vacancies vacancies
	mounts    *mounts
	spool     *spool

	sources      flights[ref.Repository, imagetypes.ImageSource]
	destinations flights[ref.Repository, imagetypes.ImageDestination]
	repositories flights[ref.Repository, struct{}] // those that were made

	failed atomic.Int64 // actions

	mu     sync.Mutex
	opened []io.Closer
}

// content is a manifest or a blob in a destination repository: the unit of work that
// is done once. The size of a blob belongs to it, since it is held against the bytes:
// an image that is wrong about it must not pass on the strength of one that is right.
type content struct {
	repo   ref.Repository
	digest ref.Digest
	size   int64
}

// New returns a Copier that reads manifests through library. Close ends it.
func New(places Places, library *Library, opts Options) *Copier {
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	kept := newSpool(opts.Spool, opts.Log)
	return &Copier{
		opts:      opts,
		places:    places,
		library:   library,
		log:       opts.Log,
		beginning: semaphore.NewWeighted(imagesBeginning),
		queue:     newQueue(kept.shared),
		streams:   semaphore.NewWeighted(streamsAtOnce),
		mounts:    newMounts(),
		spool:     kept,
	}
}

// Close closes every endpoint that was opened, and removes the spool.
func (c *Copier) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := []error{c.spool.close()}
	for _, endpoint := range c.opened {
		errs = append(errs, endpoint.Close())
	}
	c.opened = nil
	return errors.Join(errs...)
}

// Run carries out every action and returns one result for each, in the plan's order.
// One action's failure does not touch the others. When ctx ends, nothing new starts,
// what is under way stops, and both are Pending: their tags are what they were. Only
// where a tag was being written just then is it still looked at, for some seconds, and
// the result is what was found.
//
// The largest images begin first. Unless their number is given, the next one begins when
// few blobs are waiting for their turn.
//
// Once Stop says so, nothing new begins either: what has not begun is Pending, and what has
// goes on for as long as ctx.
//
// Where errors are limited, those that the plan brings along count. What is under way
// when the limit is reached is finished; the rest is Pending.
func (c *Copier) Run(ctx context.Context, p plan.Plan) []plan.Result {
	results := make([]plan.Result, len(p.Actions))
	c.failed.Store(int64(p.Count(plan.Failed)))
	c.vacancies.expect(ctx, c.library, p)
	if c.opts.Spool.Limit > 0 {
		c.spool.expect(needsOf(ctx, c.library, p))
	}
	var g errgroup.Group
	g.SetLimit(cmp.Or(c.opts.Images, imagesAtOnce))
	for _, i := range largestFirst(p) {
		a := p.Actions[i]
		if !a.Verb.Writes() {
			results[i] = plan.Unchanged(a)
			continue
		}
		begun := c.begin(ctx)
		g.Go(func() error {
			defer begun()
			results[i] = c.one(ctx, a, begun)
			c.spool.finished(a.To.Repository)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	c.commit(ctx, results)
	return results
}

// largestFirst returns the indexes of a plan's actions in the order in which they begin.
func largestFirst(p plan.Plan) []int {
	order := make([]int, len(p.Actions))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(p.Actions[j].Size, p.Actions[i].Size) })
	return order
}

// begin waits until one more image is to begin. The image calls begun when the queue
// knows what it wants, so that the next one can be judged by what is waiting there.
func (c *Copier) begin(ctx context.Context) (begun func()) {
	if c.opts.Images != 0 {
		return func() {}
	}
	if c.beginning.Acquire(ctx, 1) != nil {
		return func() {} // ctx has ended
	}
	c.queue.room(ctx) // now, since those that held the place before have filled the queue
	told := c.queue.expect()
	return sync.OnceFunc(func() {
		told()
		c.beginning.Release(1)
	})
}

// one carries out a single action and tells what came of it.
func (c *Copier) one(ctx context.Context, a plan.Action, begun func()) plan.Result {
	if ctx.Err() != nil {
		return pending(ctx, a)
	}
	if err := c.opts.Stopped(); err != nil {
		return plan.Result{Action: a, Status: plan.Pending, Reason: "not begun: " + err.Error(), Err: err}
	}
	if failed := c.failed.Load(); c.opts.MaxErrors > 0 && failed >= int64(c.opts.MaxErrors) {
		return plan.Result{Action: a, Status: plan.Pending, Reason: fmt.Sprintf("not begun: %d failed, and the run ends at %d", failed, c.opts.MaxErrors)}
	}
	if c.opts.Events.Started != nil {
		c.opts.Events.Started(a)
	}
	ctx, ended := c.opts.Events.image(ctx, a)
	began := time.Now()
	var moved atomic.Int64
	result := c.attempt(ctx, &job{copier: c, action: a, moved: &moved, begun: begun})
	result.Bytes = moved.Load()
	result.Began, result.Duration = began, time.Since(began)
	if result.Status == plan.HasFailed {
		c.failed.Add(1)
	}
	ended(result)
	if c.opts.Events.Finished != nil {
		c.opts.Events.Finished(result)
	}
	return result
}

// attempt copies the content and then the tag, within the image's own timeout.
func (c *Copier) attempt(ctx context.Context, j *job) plan.Result {
	a, imageCtx := j.action, ctx
	if c.opts.Timeout > 0 {
		var cancel context.CancelFunc
		imageCtx, cancel = context.WithTimeoutCause(ctx, c.opts.Timeout, fmt.Errorf("not copied within --timeout %s", c.opts.Timeout))
		defer cancel()
	}
	wrote, referrers, err := c.contained(imageCtx, j)
	switch {
	case err == nil && a.OnlyReferrers():
		return completed(a, referrers)
	case err == nil && wrote:
		return plan.Result{Action: a, Status: done(a.Verb), Reason: referrers.Because(a.Reason), Referrers: referrers}
	case err == nil:
		return plan.Result{Action: a, Status: plan.StaysInSync, Reason: "another run brought it in sync meanwhile"}
	case ctx.Err() != nil && interrupted(err):
		return pending(ctx, a)
	case waitsForPerson(err):
		return plan.Result{Action: a, Status: plan.StaysBlocked, Reason: err.Error(), Err: err}
	}
	err = named(imageCtx, err)
	return plan.Result{Action: a, Status: plan.HasFailed, Reason: err.Error(), Referrers: referrers, Err: err}
}

func done(v plan.Verb) plan.Status {
	if v == plan.Update {
		return plan.Updated
	}
	return plan.Copied
}

// interrupted reports whether err, of a run that has ended, can be the ending's doing.
// What can not is a refusal that came before, and a tag nobody knows the state of.
func interrupted(err error) bool {
	_, unsettled := errors.AsType[*unsettledError](err)
	return !unsettled && !failure.Final(err)
}

// waitsForPerson reports whether the destination's tag became something that is not
// this run's to overwrite.
func waitsForPerson(err error) bool {
	_, meanwhile := errors.AsType[*ChangedMeanwhile](err)
	return meanwhile || errors.Is(err, failure.ErrImmutable)
}

// named adds why ctx ended to an error that came of it and only says that it did.
func named(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && interrupted(err) && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// pending is the result of an action the run had no time for.
func pending(ctx context.Context, a plan.Action) plan.Result {
	return plan.Result{Action: a, Status: plan.Pending, Reason: "not done: " + context.Cause(ctx).Error(), Err: context.Cause(ctx)}
}

// contained is copyThenTag, whose panic is the image's failure and nobody else's.
func (c *Copier) contained(ctx context.Context, j *job) (wrote bool, referrers plan.Referrers, err error) {
	defer func() {
		if stumbled, ok := errors.AsType[*failure.Panic](err); ok {
			c.log.Debug("panic", zap.Stringer("destination", j.action.To), zap.ByteString("stack", stumbled.Stack))
		}
	}()
	defer failure.Contain(&err)
	return c.copyThenTag(ctx, j)
}

// copyThenTag is the two phases: everything below the root goes to the destination by
// digest, and then the root under its tag. It reports whether the tag had to be written.
func (c *Copier) copyThenTag(ctx context.Context, j *job) (wrote bool, referrers plan.Referrers, err error) {
	a := j.action
	j.origin, j.target = c.places.Source(a), c.places.Target(a)
	if a.OnlyReferrers() {
		referrers, err = j.complete(ctx)
		return false, referrers, err
	}
	root, err := Root(ctx, c.library, j.origin, a)
	if err != nil {
		return false, referrers, err
	}
	if err = j.connect(ctx); err != nil {
		return false, referrers, err
	}
	if !c.opts.Seen.fresh() && !a.Mends { // asked for now, what may not be written costs no bytes
		if needed, err := j.needsTag(ctx); err != nil || !needed {
			return false, referrers, err
		}
	}
	if err := c.repository(ctx, a); err != nil {
		return false, referrers, err
	}
	if referrers, err = j.content(ctx, root); err != nil {
		return false, referrers, notMade(a, err)
	}
	if a.Mends {
		return true, referrers, j.mend(ctx, root)
	}
	wrote, err = j.tag(ctx, root)
	return wrote, referrers, err
}

// connect opens what the job reads from and writes to.
func (j *job) connect(ctx context.Context) (err error) {
	if j.src, err = j.copier.source(ctx, j.action); err != nil {
		return err
	}
	j.dst, err = j.copier.destination(ctx, j.action)
	return err
}

// source returns the endpoint a is read from, opened once for its repository.
func (c *Copier) source(ctx context.Context, a plan.Action) (imagetypes.ImageSource, error) {
	return c.sources.do(ctx, a.From.Repository, a.From.Repository, func(ctx context.Context) (imagetypes.ImageSource, error) {
		s, err := c.places.Source(a).OpenSource(ctx, a.From.Repository)
		if err != nil {
			return nil, &registry.Error{Op: "open", Side: registry.SideSource, Ref: a.From, Err: err}
		}
		c.closeLater(s)
		return s, nil
	})
}

// destination returns the endpoint a is written to, opened once for its repository.
func (c *Copier) destination(ctx context.Context, a plan.Action) (imagetypes.ImageDestination, error) {
	return c.destinations.do(ctx, a.To.Repository, a.To.Repository, func(ctx context.Context) (imagetypes.ImageDestination, error) {
		d, err := c.places.Target(a).OpenDestination(ctx, a.To.Repository)
		if err != nil {
			return nil, &registry.Error{Op: "open", Side: registry.SideTarget, Ref: a.To, Err: err}
		}
		c.closeLater(d)
		return d, nil
	})
}

func (c *Copier) closeLater(endpoint io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = append(c.opened, endpoint)
}
