package cli

import (
	"cmp"

	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/shard"
)

// limitFlags bound what registries are asked, each of them by itself. 0 leaves it to the
// file, and then to the program.
type limitFlags struct {
	requests       int
	blobStreams    int
	manifestWrites float64
	uploads        float64
}

func (f *limitFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.requests, "limit-requests", 0, "at most `N` small requests at once for each registry, which adapts below that (default: 128)")
	flags.IntVar(&f.blobStreams, "limit-blob-streams", 0, "at most `N` blobs read, and as many written, at once for each registry, which adapts below that (default: 256)")
	flags.Float64Var(&f.manifestWrites, "limit-manifest-writes", 0, "manifests written in a second, `N` for each registry (default: for ECR 9 for each account and Region, of the 10 that AWS grants)")
	flags.Float64Var(&f.uploads, "limit-uploads", 0, "blob uploads begun in a second, `N` for each registry (default: for ECR 90 for each account and Region, of the 100 that AWS grants)")
}

func (f *limitFlags) check() error {
	switch {
	case f.requests < 0:
		return usageErrorf("--limit-requests %d: expected 1 or more, or 0 for the default", f.requests)
	case f.blobStreams < 0:
		return usageErrorf("--limit-blob-streams %d: expected 1 or more, or 0 for the default", f.blobStreams)
	case f.manifestWrites < 0:
		return usageErrorf("--limit-manifest-writes %g: expected a number above 0, or 0 for the default", f.manifestWrites)
	case f.uploads < 0:
		return usageErrorf("--limit-uploads %g: expected a number above 0, or 0 for the default", f.uploads)
	}
	return nil
}

// over puts what the flags say over what the file says of a host.
func (f *limitFlags) over(file config.Limits) config.Limits {
	return config.Limits{
		Requests:                cmp.Or(f.requests, file.Requests),
		BlobStreams:             cmp.Or(f.blobStreams, file.BlobStreams),
		ManifestWritesPerSecond: cmp.Or(f.manifestWrites, file.ManifestWritesPerSecond),
		UploadsPerSecond:        cmp.Or(f.uploads, file.UploadsPerSecond),
	}
}

// quota is what a host grants in a second: what the user says, and for the rest what is
// published.
func quota(published registry.Quota, said config.Limits) registry.Quota {
	q := published
	if n := said.ManifestWritesPerSecond; n > 0 {
		q.ManifestWrites = n
	}
	if n := said.UploadsPerSecond; n > 0 {
		q.UploadStarts, q.UploadEnds = n, n
	}
	return q
}

// leastRate is what a shard asks in a second however many there are: less would hardly
// move, and what is too much for the host it says by refusing.
const leastRate = 0.5

// shared is a shard's part of what a host grants to all of them.
func shared(q registry.Quota, among shard.Shard) registry.Quota {
	part := func(granted float64) float64 { return among.Rate(granted, leastRate) }
	return registry.Quota{
		Scope:          q.Scope,
		ManifestReads:  part(q.ManifestReads),
		ManifestWrites: part(q.ManifestWrites),
		BlobReads:      part(q.BlobReads),
		BlobQuestions:  part(q.BlobQuestions),
		UploadStarts:   part(q.UploadStarts),
		UploadEnds:     part(q.UploadEnds),
	}
}
