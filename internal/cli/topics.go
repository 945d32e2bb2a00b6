package cli

import (
	"slices"

	"github.com/spf13/pflag"
)

// topic is a heading of help and of manual pages, with the flags below it.
type topic struct {
	title string
	flags []*pflag.Flag
}

// topics are the headings in the order in which a reader needs them, each with its flags in
// that order.
func topics() [][]string {
	return [][]string{
		{
			"What to mirror",
			"src", "dest", "image", "tags", "exclude-tags", "platforms", "options",
			"config", "config-format", "config-destination", "only", "prefix", "allow-upstream",
			"image-key", "tag-key", "discover-with", "shard", "shards",
		},
		{"What to do", "dry-run", "apply", "exit-code", "terraform", "explain", "deep", "repair", "no-upstream", "recheck", "max-duration", "exit-on-error", "max-errors"},
		{"AWS", "region", "role-arn", "registry-id", "create-repositories"},
		{"Trust", "policy", "insecure-policy", "require-referrers"},
		{"Platforms", "platform", "override-os", "override-arch", "override-variant"},
		{
			"Credentials",
			"src-creds", "src-creds-for", "src-username", "src-password", "src-password-stdin", "src-registry-token", "src-authfile", "src-no-creds",
			"dest-creds", "dest-password-stdin", "dest-token", "dest-authfile",
		},
		{"Network", "insecure-registry", "src-cert-dir", "allow-egress"},
		{
			"Copying",
			"batch", "retry-times", "timeout", "limit-requests", "limit-blob-streams", "limit-manifest-writes", "limit-uploads",
			"spool-dir", "spool-limit", "transport", "dest-precompute-digests",
		},
		{"Pruning", "prune-max", "prune-max-share", "state"},
		{"Daemon", "interval", "jitter", "max-failed-runs", "grace", "listen", "pprof", "print-reports"},
		{"Output", "output", "render-table", "report"},
		{"Logging", "log-level", "debug", "log-format", "log-color", "log-file", "log-time-format", "log-caller"},
		{"Metrics", "metrics-pushgateway", "metrics-job", "metrics-group", "metrics-textfile", "metrics-emf", "metrics-print"},
		{"Notifications", "notify", "notify-secret", "notify-every", "notify-state"},
		{"Other", "help"},
	}
}

// fewFlags need no topics.
const fewFlags = 10

// flagsByTopic sorts the flags that are not hidden. One that no topic has stands with the
// others at the end.
func flagsByTopic(flags *pflag.FlagSet) []topic {
	var visible []*pflag.Flag
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			visible = append(visible, f)
		}
	})
	if len(visible) <= fewFlags {
		return []topic{{title: "Flags", flags: visible}}
	}
	var sorted []topic
	for _, names := range topics() {
		t := topic{title: names[0]}
		for _, name := range names[1:] {
			i := slices.IndexFunc(visible, func(f *pflag.Flag) bool { return f.Name == name })
			if i >= 0 {
				t.flags = append(t.flags, visible[i])
				visible = slices.Delete(visible, i, i+1)
			}
		}
		if t.title == "Other" {
			t.flags = append(t.flags, visible...)
		}
		if len(t.flags) > 0 {
			sorted = append(sorted, t)
		}
	}
	return sorted
}

// hide keeps flags out of a command's help: they are accepted, for the sake of who has one
// set of flags or variables for all commands, and mean nothing.
func hide(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		flags.Lookup(name).Hidden = true
	}
}

// reword says what a flag means to one command, where it means something else to others.
func reword(flags *pflag.FlagSet, name, usage string) { flags.Lookup(name).Usage = usage }
