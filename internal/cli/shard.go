package cli

import (
	"os"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/shard"
)

// completionIndex is the variable in which Kubernetes tells each Pod of an Indexed Job
// which one it is, counted from 0.
const completionIndex = "JOB_COMPLETION_INDEX"

// shardFlags say which of several processes this one is.
type shardFlags struct {
	shard  string
	shards int
}

func (f *shardFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.shard, "shard", "", "only what falls to shard `i/N`, such as 0/4 for the first of four processes that share the work; limits are shared too")
	flags.IntVar(&f.shards, "shards", 0, "the same for `N` shards, of which $"+completionIndex+" says which one this is, as in an Indexed Job of Kubernetes")
}

// parse returns the shard that the flags mean, the whole where they mean none.
func (f *shardFlags) parse() (shard.Shard, error) {
	switch {
	case f.shard != "" && f.shards != 0:
		return shard.Shard{}, usageErrorf("--shard and --shards both say which shard this is: use one of them")
	case f.shards != 0:
		return f.completion()
	case f.shard != "":
		s, err := shard.Parse(f.shard)
		if err != nil {
			return s, usageErrorf("--shard: %w", err)
		}
		return s, nil
	}
	return shard.Shard{}, nil
}

// completion returns the shard of a Pod of an Indexed Job.
func (f *shardFlags) completion() (shard.Shard, error) {
	written, set := os.LookupEnv(completionIndex)
	if !set {
		return shard.Shard{}, usageErrorf("--shards %d takes the shard's number from $%s, which is not set: outside an Indexed Job use --shard i/%d", f.shards, completionIndex, f.shards)
	}
	index, err := strconv.Atoi(written)
	if err != nil {
		return shard.Shard{}, usageErrorf("--shards: $%s is %q: expected a number from 0", completionIndex, written)
	}
	s, err := shard.New(index, f.shards)
	if err != nil {
		return s, usageErrorf("--shards: %w", err)
	}
	return s, nil
}
