// Package ecr is everything that knows ECR: its hosts, its control plane, its tokens,
// the finder that reads resource tags, and ECR as a target.
//
// It talks to AWS through the SDK's own clients, in tests too, where an emulator
// answers over HTTP.
package ecr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/sdkhttp"
)

// DefaultRegion is used where neither the command line nor the AWS configuration names
// one.
const DefaultRegion = "us-east-1"

// attemptTimeout bounds one request to AWS, with its answer: the SDK itself would wait
// for ever. The largest answers are a hundred manifests.
const attemptTimeout = 30 * time.Second

// Options says how to reach AWS. The zero Options uses the SDK's default chain: IRSA,
// EKS Pod Identity, profiles, SSO, instance roles. Where the AWS configuration says
// something (AWS_MAX_ATTEMPTS, AWS_RETRY_MODE, AWS_SDK_UA_APP_ID, endpoints), it wins.
type Options struct {
	Role       Role        // to assume first
	RegistryID string      // the account whose registry is meant; "" means the caller's
	UserAgent  string      // "name" or "name/version", added to the SDK's own
	Observer   Observer    // nil means none
	Tracer     Tracer      // nil means none
	Log        *zap.Logger // nil means no logging

	tuning tuning // for tests
}

// Session is AWS as one run sees it: one credential chain, and for each Region one set
// of clients. It is safe for concurrent use.
type Session struct {
	opts   Options
	origin aws.Config // without the role of opts
	base   aws.Config
	api    string // where ECR's API is, "" for where base says
	log    *zap.Logger

	connections *sdkhttp.Client // nil where they are those of the session that this one came of
	profile     string          // whose credentials these are, "" where none was named

	asking        singleflight.Group // for account
	askingAliases singleflight.Group

	mu      sync.Mutex
	regions map[string]*regional
	account string             // the caller's, once asked for
	aliases []string           // of the caller's public registry, once asked for
	others  map[scope]*Session // what As and through have returned
}

// scope is what sessions of one run differ in.
type scope struct {
	role       Role
	profile    string
	registryID string
	api        string
}

// Access is how a registry is spoken to, where it is not spoken to like all others.
type Access struct {
	Role     Role   // to assume; the zero Role is the session's own, and with a profile none
	Profile  string // of the AWS configuration, whose credentials are used; "" for the session's own
	Endpoint string // URL of ECR's API, such as a VPC endpoint's; "" is the session's own
}

// regional holds the clients of one Region.
type regional struct {
	region  string
	ecr     *ecr.Client
	public  *ecrpublic.Client
	tagging *tagging.Client
	sts     *sts.Client
}

// Open reads the AWS configuration. It contacts AWS only where the configuration
// itself says so; credentials are fetched when a call first needs them. Close ends the
// session.
func Open(ctx context.Context, opts Options) (*Session, error) {
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	base, connections, err := load(ctx, opts, "")
	if err != nil {
		return nil, err
	}
	s := newSession(base, opts)
	s.connections = connections
	return s, nil
}

// load reads the AWS configuration, with the credentials of a profile where one is named.
// A profile that is named goes before keys and web identities of the environment, and one
// that does not exist is an error. The connections are those of the configuration.
func load(ctx context.Context, opts Options, profile string) (aws.Config, *sdkhttp.Client, error) {
	roles := &lateSTS{}
	base, err := config.LoadDefaultConfig(ctx,
		config.WithSharedConfigProfile(profile), // the configuration's own, where that is ""
		// Said here and not afterwards, since the clients that fetch credentials are
		// made while the configuration is loaded, and web identities need a Region.
		config.WithDefaultRegion(DefaultRegion),
		config.WithHTTPClient(sdkhttp.WhileLoading().WithTimeout(cmp.Or(opts.tuning.attemptTimeout, attemptTimeout))),
		config.WithLogger(sdkLog{opts.Log}),
		config.WithAPIOptions(append(userAgent(opts.UserAgent), observing(opts.Observer, opts.Tracer)...)),
		roles.options,
	)
	if missing, ok := errors.AsType[config.SharedConfigProfileNotExistError](err); ok {
		return aws.Config{}, nil, fmt.Errorf("AWS configuration: there is no profile %q: see AWS_PROFILE, and aws configure list-profiles", missing.Profile)
	}
	if err != nil {
		return aws.Config{}, nil, fmt.Errorf("AWS configuration: %w", err)
	}
	// Set afterwards, so that the credential chain keeps the SDK's own short patience:
	// it ends with a metadata service that most machines do not have.
	base.Retryer = retryer(base.RetryMode, opts)
	// Replaced afterwards, too: while it loads, the SDK wants to add AWS_CA_BUNDLE to the
	// client it knows.
	connections, err := sdkhttp.New(base.HTTPClient, nil)
	if err != nil {
		return aws.Config{}, nil, fmt.Errorf("AWS configuration: %w", err)
	}
	base.HTTPClient = connections
	roles.client = sts.NewFromConfig(base)
	base.Credentials = explained(base.Credentials, configuredRole(base, profile), opts.Log)
	return base, connections, nil
}

// newSession returns a session that has the credentials of origin, or of the role of opts.
func newSession(origin aws.Config, opts Options) *Session {
	base := origin.Copy()
	if opts.Role.ARN != "" {
		base.Credentials = explained(assumed(origin, opts.Role), opts.Role.ARN, opts.Log)
	}
	s := &Session{opts: opts, origin: origin, base: base, log: opts.Log, regions: map[string]*regional{}}
	s.others = map[scope]*Session{{role: opts.Role, registryID: opts.RegistryID}: s}
	return s
}

// Close closes the connections to AWS that nothing uses, those of sessions that came of this
// one and of clients that were made of Config among them. What is under way ends as it
// would, and leaves none behind.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.others {
		if other != s {
			_ = other.Close() // returns no error
		}
	}
	if s.connections != nil {
		s.connections.Close()
	}
	return nil
}

// As returns a session that was opened as s was, with role and registryID in the place of
// its own (see Options): another part of ECR in the same run. Asked again for the same it
// returns the same session, so that nothing is fetched twice.
func (s *Session) As(role Role, registryID string) *Session {
	return s.other(scope{role: role, registryID: registryID}, s.origin)
}

// through returns a session for the registry of an account that is spoken to by access. It
// reads the AWS configuration anew for a profile, and contacts AWS no more than Open does.
func (s *Session) through(ctx context.Context, access Access, account string) (*Session, error) {
	as := scope{role: access.Role, profile: access.Profile, registryID: account, api: access.Endpoint}
	if access.Profile == "" {
		if as.role.ARN == "" {
			as.role = s.opts.Role
		}
		return s.other(as, s.origin), nil
	}
	origin, connections, err := load(ctx, s.opts, access.Profile)
	if err != nil {
		return nil, err
	}
	other := s.other(as, origin)
	other.mu.Lock()
	defer other.mu.Unlock()
	if other.connections == nil { // else it was there before, and has its own
		other.connections = connections
	}
	return other, nil
}

// other returns the one session of a scope, whose credentials come from origin.
func (s *Session) other(as scope, origin aws.Config) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	other, ok := s.others[as]
	if !ok {
		opts := s.opts
		opts.Role, opts.RegistryID = as.role, as.registryID
		other = newSession(origin, opts)
		other.api, other.profile = as.api, as.profile
		s.others[as] = other
	}
	return other
}

// meant is the account whose registry the session is for, as far as its options say.
func (s *Session) meant() string {
	if s.opts.RegistryID != "" {
		return s.opts.RegistryID
	}
	role, err := arn.Parse(s.opts.Role.ARN)
	if err != nil {
		return ""
	}
	return role.AccountID
}

// userAgent adds the program's name to the SDK's. The SDK's application id is left to
// whoever runs the program.
func userAgent(product string) []func(*middleware.Stack) error {
	name, version, versioned := strings.Cut(product, "/")
	switch {
	case name == "":
		return nil
	case versioned:
		return []func(*middleware.Stack) error{awsmiddleware.AddUserAgentKeyValue(name, version)}
	}
	return []func(*middleware.Stack) error{awsmiddleware.AddUserAgentKey(name)}
}

// sdkLog passes on what the SDK has to say, which it would write to stderr.
type sdkLog struct{ log *zap.Logger }

// Logf implements logging.Logger.
func (l sdkLog) Logf(class logging.Classification, format string, args ...any) {
	line := "AWS SDK: " + oneLine(fmt.Sprintf(format, args...))
	if class == logging.Warn {
		l.log.Warn(line)
		return
	}
	l.log.Debug(line)
}

// Region is the Region of the AWS configuration, or DefaultRegion.
func (s *Session) Region() string { return s.base.Region }

// Config returns the AWS configuration of the session, with its credentials and its
// patience, for clients of other services.
func (s *Session) Config() aws.Config { return s.base.Copy() }

// Endpoint is where ECR's API is instead of at AWS, as with an emulator or a VPC
// endpoint; "" means at AWS. Where it is set, registry hosts need not look like ECR's.
func (s *Session) Endpoint() string {
	return aws.ToString(s.in(s.Region()).ecr.Options().BaseEndpoint)
}

// in returns the clients of a Region.
func (s *Session) in(region string) *regional {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.regions[region]; ok {
		return r
	}
	cfg := s.base.Copy()
	cfg.Region = region
	r := &regional{
		region:  region,
		ecr:     ecr.NewFromConfig(cfg, s.atAPI),
		public:  ecrpublic.NewFromConfig(cfg, s.atPublicAPI),
		tagging: tagging.NewFromConfig(cfg),
		sts:     sts.NewFromConfig(cfg),
	}
	s.regions[region] = r
	return r
}

// atAPI sends calls to the session's own endpoint, where it has one.
func (s *Session) atAPI(o *ecr.Options) {
	if s.api != "" {
		o.BaseEndpoint = &s.api
	}
}

func (s *Session) atPublicAPI(o *ecrpublic.Options) {
	if s.api != "" {
		o.BaseEndpoint = &s.api
	}
}

// askingLimit bounds a call that several callers wait for.
const askingLimit = time.Minute

// callerAccount asks STS who is asking, until one Region has answered. The call needs
// no permission. It goes to the STS of the Region that is of interest, since that of
// another AWS partition does not know the caller.
func (s *Session) callerAccount(ctx context.Context, region string) (string, error) {
	if known := s.knownAccount(); known != "" {
		return known, nil
	}
	return shared(ctx, &s.asking, region, askingLimit, func(ctx context.Context) (string, error) {
		if known := s.knownAccount(); known != "" {
			return known, nil
		}
		out, err := s.in(region).sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return "", translate("sts:GetCallerIdentity", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.account = aws.ToString(out.Account)
		return s.account, nil
	})
}

func (s *Session) knownAccount() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account
}

// registryID is the account to name in calls, nil for the caller's own.
func (s *Session) registryID() *string { return optional(s.opts.RegistryID) }

// shared lets all who ask for key at the same time wait for one call of f. The call
// runs under no caller's context: the one whose image happens to be cancelled must not
// fail the others. A caller whose own context ends stops waiting at once.
func shared[T any](ctx context.Context, calls *singleflight.Group, key string, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	done := calls.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		return f(ctx)
	})
	select {
	case r := <-done:
		got, _ := r.Val.(T) // f's own result
		return got, r.Err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// oneLine keeps multi-line messages from tearing tables and logs.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
