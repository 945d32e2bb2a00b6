package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
)

// serveFlags are the flags of serve as they were given.
type serveFlags struct {
	listen      string
	registries  []string
	data        string
	seed        string
	account     string
	region      string
	profile     string
	quirks      []string
	credentials string
	journal     string
	tokenTTL    time.Duration
	throttle    string
	rates       []string
	tagDelay    time.Duration
	pageCap     int
	maxRepos    int
	debug       bool
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a local ECR until SIGTERM",
		Long: `Serve a local ECR until SIGTERM or SIGINT.

When it is ready it prints one line: ready http://HOST:PORT account ID region R.
Clients reach the control plane with --endpoint-url or AWS_ENDPOINT_URL, and the
registry as HOST:PORT/REPOSITORY over plain HTTP. A registry that --registry gives an
address of its own is reached there; a line before that one says where:
registry ID/R http://HOST:PORT.

The quirks, for --quirk NAME=on|off (minimum-chunk takes bytes):
  ` + strings.Join(ecrlocal.QuirkNames(), "\n  "),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.serve(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:5100", "address to listen on; port 0 picks a free one")
	flags.StringArrayVar(&f.registries, "registry", nil, "give one registry an address of its own: [ACCOUNT/]REGION=ADDRESS (repeatable)")
	flags.StringVar(&f.data, "data", "", "directory that keeps the state across restarts (default: memory)")
	flags.StringVar(&f.seed, "seed", "", "YAML file of repositories, templates and settings to begin with")
	flags.StringVar(&f.account, "account", ecrlocal.DefaultAccount, "account of unknown access keys")
	flags.StringVar(&f.region, "region", ecrlocal.DefaultRegion, "Region of registry requests without a token")
	flags.StringVar(&f.profile, "profile", "ecr", "ecr: behave as ECR does; oci: as a plain registry")
	flags.StringArrayVar(&f.quirks, "quirk", nil, "switch one behaviour of the profile: NAME=on|off (repeatable)")
	flags.StringVar(&f.credentials, "credentials", "", "YAML or JSON file of access keys, their accounts and denied actions (default: any key signs)")
	flags.StringVar(&f.journal, "journal", "", "file to append every request to, as JSON lines")
	flags.DurationVar(&f.tokenTTL, "token-ttl", ecrlocal.DefaultTokenTTL, "how long registry tokens are valid")
	flags.StringVar(&f.throttle, "throttle", "on", "on, off, or a number that scales the published rates")
	flags.StringArrayVar(&f.rates, "rate", nil, "rate of one action: PutImage=2.5 per second, 0 lifts the limit (repeatable)")
	flags.DurationVar(&f.tagDelay, "tagging-delay", 0, "how long the tagging API takes to notice resource tags")
	flags.IntVar(&f.maxRepos, "max-repositories", 0, "quota of repositories in each registry (0: AWS's default, 100,000)")
	flags.IntVar(&f.pageCap, "page-size-cap", 0, "most results on any page, whatever is asked for (0: no cap)")
	flags.BoolVar(&f.debug, "debug", false, "log more to stderr")
	return cmd
}

func (f *serveFlags) serve(ctx context.Context, stdout, stderr io.Writer) (err error) {
	opts, err := f.options(stderr)
	if err != nil {
		return usageError{err}
	}
	closeJournal, err := openJournal(f.journal, &opts.JournalWriter)
	if err != nil {
		return usageError{err}
	}
	defer func() { err = errors.Join(err, closeJournal()) }()
	server, err := ecrlocal.New(opts) //nolint:contextcheck // what it opens is ended by Close
	if err != nil {
		return usageError{err}
	}
	defer func() { err = errors.Join(err, server.Close()) }() //nolint:contextcheck // it runs when ctx has ended
	main := site{address: f.listen, at: handledBy(server), ready: "ready %s account " + server.Account() + " region " + server.Region()}
	sites, err := separate(server, f.registries)
	if err != nil {
		return usageError{err}
	}
	return listenAndServe(ctx, stdout, append(sites, main)...)
}

// separate reads --registry: which registries get addresses of their own.
func separate(server *ecrlocal.Server, assignments []string) ([]site, error) {
	var sites []site
	for _, assignment := range assignments {
		name, address, _ := strings.Cut(assignment, "=")
		account, region, both := strings.Cut(name, "/")
		if !both {
			account, region = server.Account(), name
		}
		if account == "" || region == "" || address == "" {
			return nil, fmt.Errorf("--registry: want [ACCOUNT/]REGION=ADDRESS, not %q", assignment)
		}
		sites = append(sites, site{address: address, ready: "registry " + account + "/" + region + " %s", at: func(address string) (http.Handler, error) {
			handler, err := server.RegistryAt(account, region, address)
			if err != nil {
				return nil, usageError{fmt.Errorf("--registry: %w", err)}
			}
			return handler, nil
		}})
	}
	return sites, nil
}

// options turns the flags into the server's options, all but the journal.
func (f *serveFlags) options(stderr io.Writer) (ecrlocal.Options, error) {
	opts := ecrlocal.Options{
		Account: f.account, Region: f.region, DataDir: f.data,
		TokenTTL: f.tokenTTL, TaggingDelay: f.tagDelay, PageSizeCap: f.pageCap, MaxRepositories: f.maxRepos,
		Log: newLog(stderr, f.debug),
	}
	quirks, err := ecrlocal.ParseProfile(f.profile)
	if err != nil {
		return opts, fmt.Errorf("--profile: %w", err)
	}
	for _, assignment := range f.quirks {
		name, value, _ := strings.Cut(assignment, "=")
		if err := quirks.Set(name, value); err != nil {
			return opts, fmt.Errorf("--quirk: %w", err)
		}
	}
	opts.Quirks = &quirks
	if opts.Throttle, err = parseThrottle(f.throttle, f.rates); err != nil {
		return opts, err
	}
	if f.seed != "" {
		if opts.Seed, err = ecrlocal.LoadSeed(f.seed); err != nil {
			return opts, fmt.Errorf("--seed: %w", err)
		}
	}
	if f.credentials != "" {
		if opts.Credentials, err = ecrlocal.LoadCredentials(f.credentials); err != nil {
			return opts, fmt.Errorf("--credentials: %w", err)
		}
	}
	return opts, nil
}

func parseThrottle(mode string, rates []string) (ecrlocal.Throttle, error) {
	var t ecrlocal.Throttle
	switch mode {
	case "on":
	case "off":
		t.Off = true
	default:
		scale, err := strconv.ParseFloat(mode, 64)
		if err != nil || scale <= 0 {
			return t, fmt.Errorf("--throttle: want on, off or a positive number, not %q", mode)
		}
		t.Scale = scale
	}
	for _, assignment := range rates {
		action, text, _ := strings.Cut(assignment, "=")
		perSecond, err := strconv.ParseFloat(text, 64)
		if err != nil || action == "" {
			return t, fmt.Errorf("--rate: want ACTION=NUMBER, not %q", assignment)
		}
		if t.Rates == nil {
			t.Rates = make(map[string]float64)
		}
		t.Rates[action] = perSecond
	}
	return t, nil
}

// registryFlags are the flags of registry as they were given.
type registryFlags struct {
	listen  string
	data    string
	journal string
}

func newRegistry() *cobra.Command {
	var f registryFlags
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Serve a plain registry to mirror from, until SIGTERM",
		Long: `Serve distribution's own registry, unchanged but for a journal, until SIGTERM or SIGINT.

It asks for no credentials. When it is ready it prints one line: ready http://HOST:PORT.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.serve(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:5000", "address to listen on; port 0 picks a free one")
	flags.StringVar(&f.data, "data", "", "directory that keeps the content (default: a temporary one)")
	flags.StringVar(&f.journal, "journal", "", "file to append every request to, as JSON lines")
	return cmd
}

func (f *registryFlags) serve(ctx context.Context, stdout io.Writer) (err error) {
	opts := ecrlocal.UpstreamOptions{Dir: f.data}
	closeJournal, err := openJournal(f.journal, &opts.JournalWriter)
	if err != nil {
		return usageError{err}
	}
	defer func() { err = errors.Join(err, closeJournal()) }()
	registry, err := ecrlocal.NewUpstream(opts) //nolint:contextcheck // what it opens is ended by Close
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	return listenAndServe(ctx, stdout, site{address: f.listen, at: handledBy(registry), ready: "ready %s"})
}

// openJournal opens the journal file, if there is one, and stores it in out.
func openJournal(path string, out *io.Writer) (closeFile func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("--journal: %w", err)
	}
	*out = file
	return file.Close, nil
}

func newLog(w io.Writer, debug bool) *zap.Logger {
	level := zapcore.WarnLevel
	if debug {
		level = zapcore.DebugLevel
	}
	encoder := zap.NewDevelopmentEncoderConfig()
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(encoder), zapcore.AddSync(w), level))
}
