package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/shard"
)

// What a registry grants is granted to all shards together, whoever says how much it is.
func TestShardsShareWhatARegistryGrants(t *testing.T) {
	published := registry.Quota{
		Scope: "111122223333/eu-west-1", ManifestReads: 1800, ManifestWrites: 9, BlobReads: 2700,
		BlobQuestions: 900, UploadStarts: 90, UploadEnds: 90,
	}
	tests := []struct {
		name  string
		shard string
		said  config.Limits
		want  registry.Quota
	}{
		{"three of them", "1/3", config.Limits{}, registry.Quota{
			Scope: "111122223333/eu-west-1", ManifestReads: 600, ManifestWrites: 3, BlobReads: 900, BlobQuestions: 300, UploadStarts: 30, UploadEnds: 30,
		}},
		{"so many that nothing would move", "99/100", config.Limits{}, registry.Quota{
			Scope: "111122223333/eu-west-1", ManifestReads: 18, ManifestWrites: leastRate, BlobReads: 27, BlobQuestions: 9, UploadStarts: 0.9, UploadEnds: 0.9,
		}},
		{"what the user says", "0/3", config.Limits{ManifestWritesPerSecond: 60, UploadsPerSecond: 0.3}, registry.Quota{
			Scope: "111122223333/eu-west-1", ManifestReads: 600, ManifestWrites: 20, BlobReads: 900, BlobQuestions: 300, UploadStarts: 0.3, UploadEnds: 0.3,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			part, err := shard.Parse(tt.shard)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, shared(quota(published, tt.said), part)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if got := shared(registry.Quota{}, shard.Shard{}); got != (registry.Quota{}) {
		t.Errorf("where nothing is known of a host, %+v is granted", got)
	}
}
