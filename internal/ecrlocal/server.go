package ecrlocal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// What a zero [Options] means.
const (
	DefaultAccount  = "111122223333"
	DefaultRegion   = "us-east-1"
	DefaultTokenTTL = 12 * time.Hour
)

// Options configures a [Server]. The zero value is an empty ECR in memory.
type Options struct {
	// Account owns what is signed with unknown access keys; "" means DefaultAccount.
	Account string
	// Region is where registry requests without a token go; "" means DefaultRegion.
	Region string
	// Quirks says how the registry behaves; nil means ECR().
	Quirks *Quirks
	// Throttle tunes the metering of operations.
	Throttle Throttle
	// Clock tells the time for everything that has a date or expires; nil means time.Now.
	Clock func() time.Time
	// TokenTTL is how long registry tokens are valid; 0 means DefaultTokenTTL.
	TokenTTL time.Duration
	// TaggingDelay is how long the tagging API takes to notice a change of resource tags.
	TaggingDelay time.Duration
	// MaxRepositories is the quota of every registry; 0 means AWS's default of 100,000.
	MaxRepositories int
	// PageSizeCap, when positive, is the most results any page holds, whatever was asked for.
	PageSizeCap int
	// Credentials says which access keys exist; nil means every key signs for Account.
	Credentials *Credentials
	// DataDir keeps the state across restarts; "" keeps it in memory.
	DataDir string
	// Seed is created at the start, where it does not exist yet; nil means nothing.
	Seed *Seed
	// JournalWriter receives every request as a line of JSON; nil means none.
	JournalWriter io.Writer
	// JournalSize is how many requests Journal remembers; 0 means 131072.
	JournalSize int
	// Log receives what goes wrong inside the server; nil means nothing.
	Log *zap.Logger
}

// Server is a local ECR. It is an [http.Handler] and safe for concurrent use.
type Server struct {
	account      string
	region       string
	quirks       Quirks
	clock        func() time.Time
	tokenTTL     time.Duration
	taggingDelay time.Duration
	pageSizeCap  int
	quota        int // repositories in a registry
	credentials  *Credentials
	log          *zap.Logger

	secret     sealer
	operations map[string]operation                  // control-plane operations by X-Amz-Target
	handlers   map[string]func(*Server, *pull) error // registry requests by their Op
	storage    *blobStorage
	meter      *meter
	journal    *journal
	faults     faults
	uploads    uploads
	keeper     *keeper // nil without a data directory

	mu        sync.Mutex
	state     *state
	addresses map[registryKey]string // of the registries that have their own
}

// New returns a server with the state of opts.DataDir, if any, and opts.Seed in it. The
// caller closes it.
func New(opts Options) (*Server, error) {
	s, err := newServer(opts)
	if err != nil {
		return nil, err
	}
	if opts.DataDir != "" {
		if s.keeper, err = openKeeper(opts.DataDir, s.log); err != nil {
			return nil, err
		}
		if s.state, err = s.keeper.load(); err != nil {
			return nil, err
		}
		s.keeper.start(s.snapshot)
	}
	s.secret = s.state.Sealer
	if err := s.plant(opts.Seed); err != nil {
		return nil, errors.Join(fmt.Errorf("seeding: %w", err), s.Close())
	}
	return s, nil
}

func newServer(opts Options) (*Server, error) {
	s := &Server{
		account:      opts.Account,
		region:       opts.Region,
		quirks:       ECR(),
		clock:        opts.Clock,
		tokenTTL:     opts.TokenTTL,
		taggingDelay: opts.TaggingDelay,
		pageSizeCap:  opts.PageSizeCap,
		quota:        cmp.Or(opts.MaxRepositories, maxRepositories),
		credentials:  opts.Credentials,
		log:          opts.Log,
		operations:   operations(),
		handlers:     registryHandlers(),
		state:        newState(),
		addresses:    make(map[registryKey]string),
	}
	if s.account == "" {
		s.account = DefaultAccount
	}
	if s.region == "" {
		s.region = DefaultRegion
	}
	if opts.Quirks != nil {
		s.quirks = *opts.Quirks
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.tokenTTL == 0 {
		s.tokenTTL = DefaultTokenTTL
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if !isAccountID(s.account) {
		return nil, fmt.Errorf("account %q is not 12 digits", s.account)
	}
	if !regionPattern.MatchString(s.region) {
		return nil, fmt.Errorf("region %q is not of the form us-east-1", s.region)
	}
	if err := s.credentials.validate(); err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	var err error
	if s.storage, err = openStorage(opts.DataDir); err != nil {
		return nil, err
	}
	s.meter = newMeter(s.quirks.Throttle, opts.Throttle)
	s.journal = newJournal(s.clock, opts.JournalSize, opts.JournalWriter)
	return s, nil
}

// Account is the default account.
func (s *Server) Account() string { return s.account }

// Region is the default Region.
func (s *Server) Region() string { return s.region }

// Close gives up unfinished uploads and writes the state to the data directory, if there is
// one. The server must not be serving any more.
func (s *Server) Close() error {
	s.uploads.abandon()
	if s.keeper == nil {
		return nil
	}
	return s.keeper.close()
}

// Journal returns the requests so far, oldest first. A request is there before its client
// sees the answer.
func (s *Server) Journal() []Entry { return s.journal.snapshot() }

// ResetJournal forgets the requests so far.
func (s *Server) ResetJournal() { s.journal.reset() }

// FailNext makes the next n requests of op fail as f says. op is an [Entry]'s Op: the
// operation's name on the API ("PutImage"), the kind of request on the registry
// ("manifest-put").
func (s *Server) FailNext(op string, n int, f Fault) { s.faults.failNext(op, n, f) }

// ServeHTTP implements [http.Handler]: the API, and every registry.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, nil) }

// serve answers a request that came to the address of the registry called only, or where that
// is nil to the server's.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, only *registryKey) {
	x := s.journal.begin(w, r)
	completed := false
	defer func() { x.finish(completed) }()
	switch {
	case r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/"):
		s.serveRegistry(x, r, only)
	case strings.HasPrefix(r.URL.Path, downloadPath):
		s.serveDownload(x, r)
	case only != nil:
		http.Error(x, "ecrlocal: this is the address of one registry, under /v2/", http.StatusNotFound)
	case r.URL.Path == publicTokenPath:
		s.servePublicToken(x, r)
	default:
		s.serveAPI(x, r)
	}
	completed = true
}

// changed is called, with mu held, after every change of the state.
func (s *Server) changed() {
	if s.keeper != nil {
		s.keeper.wake()
	}
}
