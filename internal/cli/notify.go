package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/notify"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/s3store"
)

// notifyFlags say who is told of runs, besides those whom the file names.
type notifyFlags struct {
	to     []string
	secret string
	every  time.Duration
	state  string

	asked bool // the command tells of its runs at all
}

// receivers are the flags that name who is told.
func (f *notifyFlags) receivers(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.to, "notify", nil, "tell of runs that fail, recover or find drift: `KIND=WHERE`, such as slack=env:SLACK_URL or webhook=file:/run/secrets/url. KIND is webhook, slack or shoutrrr, and WHERE is the URL, which no process list shows; repeatable")
	flags.StringVar(&f.secret, "notify-secret", "", "what webhooks of --notify are signed with: env:NAME or file:PATH, as `WHERE`")
}

func (f *notifyFlags) register(flags *pflag.FlagSet) {
	f.asked = true
	f.receivers(flags)
	flags.DurationVar(&f.every, "notify-every", 24*time.Hour, "tell again, after this `DURATION`, of trouble that goes on (0: never)")
	flags.StringVar(&f.state, "notify-state", "", "`FILE` or s3://BUCKET/KEY that remembers from run to run what was told; without it, runs that end tell of every failure, and of no recovery")
}

// check refuses what cannot be meant.
func (f *notifyFlags) check() error {
	if f.every < 0 {
		return usageErrorf("--notify-every %s: expected 0 or more", f.every)
	}
	if strings.HasPrefix(f.state, "s3:") {
		if _, err := s3store.ParseLocation(f.state); err != nil {
			return usageErrorf("--notify-state: %w", err)
		}
	}
	return nil
}

// all returns the receivers of the file and of the flags. Nobody is contacted.
func (f *notifyFlags) all(file *config.Config) ([]notify.Receiver, error) {
	var receivers []notify.Receiver
	for _, n := range file.File.Notifications {
		sender, err := senderOf(n)
		if err != nil {
			return nil, usageErrorf("notifications[%s]: %w", n.Name, err)
		}
		r := notify.Receiver{Name: n.Name, Sender: sender, Policy: notify.Policy{Mirrors: n.Mirrors, Every: f.every}}
		for _, e := range n.On {
			r.Policy.On = append(r.Policy.On, notify.Event(e))
		}
		if every, said := n.Again(); said {
			r.Policy.Every = every
		}
		receivers = append(receivers, r)
	}
	secret, err := hidden(f.secret)
	if err != nil {
		return nil, usageErrorf("--notify-secret: %w", err)
	}
	for i, written := range f.to {
		kind, where, _ := strings.Cut(written, "=")
		address, err := hidden(where)
		if err == nil && address == "" {
			err = fmt.Errorf("expected KIND=env:NAME or KIND=file:PATH")
		}
		if err != nil {
			return nil, usageErrorf("--notify: %w", err)
		}
		sender, err := newSender(kind, address, secret)
		if err != nil {
			return nil, usageErrorf("--notify: %w", err)
		}
		receivers = append(receivers, notify.Receiver{Name: fmt.Sprintf("--notify %d, %s", i+1, kind), Sender: sender, Policy: notify.Policy{Every: f.every}})
	}
	return receivers, nil
}

// senderOf returns who brings messages to a receiver of the file.
func senderOf(n config.Notification) (notify.Sender, error) {
	switch {
	case n.Webhook != nil:
		return newSender("webhook", n.Webhook.URL.Value().Reveal(), n.Webhook.Secret.Value().Reveal())
	case n.Slack != nil:
		return newSender("slack", n.Slack.URL.Value().Reveal(), "")
	}
	return newSender("shoutrrr", n.Shoutrrr.Value().Reveal(), "")
}

func newSender(kind, address, secret string) (notify.Sender, error) {
	switch kind {
	case "webhook":
		return notify.NewWebhook(address, secret)
	case "slack":
		return notify.NewSlack(address)
	case "shoutrrr":
		return notify.NewShoutrrr(address)
	}
	return nil, fmt.Errorf("a kind that is none of webhook, slack and shoutrrr") // not quoted: it may be a URL
}

// hidden reads what env:NAME or file:PATH refers to; "" refers to nothing. Its errors do not
// quote what else was written: it may be the secret itself.
func hidden(where string) (string, error) {
	if where == "" {
		return "", nil
	}
	if name, ok := strings.CutPrefix(where, "env:"); ok {
		if value := os.Getenv(name); value != "" {
			return value, nil
		}
		return "", fmt.Errorf("the environment variable %q is not set", name)
	}
	path, ok := strings.CutPrefix(where, "file:")
	if !ok {
		return "", fmt.Errorf("expected env:NAME or file:PATH: what is written on a command line is no secret")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if value := strings.TrimRight(string(data), "\r\n"); value != "" {
		return value, nil
	}
	return "", fmt.Errorf("the file %q is empty", path)
}

func newNotify(streams Streams, code *int) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "See whether messages about runs arrive",
		Long: `Runs of sync, daemon and verify tell receivers when they fail, recover or find drift.
docs/notifications.md describes receivers, messages and their signature.`,
		Example:                    "  ecr-mirror-sync notify test --config mirrors.yaml",
		Args:                       knownCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newNotifyTest(streams, code))
	return cmd
}

func newNotifyTest(streams Streams, code *int) *cobra.Command {
	var file fileFlags
	var flags notifyFlags
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Send a test message to each receiver",
		Long: `Each receiver of the file and of --notify gets a message with the event test, whatever
else it wants to hear of. The exit code is 1 if some, and 3 if none could be told.`,
		Example: `  ecr-mirror-sync notify test --config mirrors.yaml
  SLACK_URL=https://hooks.slack.com/services/… ecr-mirror-sync notify test --notify slack=env:SLACK_URL`,
		Args: noArgs,
	}
	file.register(cmd.Flags())
	flags.receivers(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := fromEnvironment(cmd.Flags()); err != nil {
			return err
		}
		read, err := file.load(streams)
		if err != nil {
			return err
		}
		receivers, err := flags.all(read.Config)
		if err != nil {
			return err
		}
		if len(receivers) == 0 {
			return usageErrorf("there is nobody to tell: name receivers under notifications: in --config, or with --notify")
		}
		*code, err = sendTests(cmd.Context(), streams, receivers)
		return err
	}
	return cmd
}

// sendTests tells of each receiver what came of it.
func sendTests(ctx context.Context, streams Streams, receivers []notify.Receiver) (int, error) {
	lost := 0
	for _, r := range receivers {
		said := r.Name + ": sent"
		if err := r.SendTest(ctx, time.Now()); err != nil {
			lost++
			said = "not sent: " + err.Error()
		}
		if _, err := fmt.Fprintln(streams.Out, said); err != nil {
			return 0, err
		}
	}
	switch lost {
	case 0:
		return exitOK, nil
	case len(receivers):
		return exitNothingDone, nil
	}
	return exitSomeFailed, nil
}
