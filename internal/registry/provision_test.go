package registry_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// provisioner is a place that makes repositories and changes their settings.
type provisioner struct {
	*place
	did []string
}

func (p *provisioner) CanCreateRepository(ref.Repository) bool { return true }

func (p *provisioner) CreateRepository(_ context.Context, repo ref.Repository, _ provision.Settings) (bool, error) {
	p.did = append(p.did, "create "+repo.Path)
	return true, nil
}

func (p *provisioner) Differences(context.Context, ref.Repository, provision.Settings) ([]provision.Difference, error) {
	return []provision.Difference{{Setting: provision.ScanOnPush}}, nil
}

func (p *provisioner) Reconcile(_ context.Context, _ ref.Repository, _ provision.Settings, d provision.Difference) error {
	p.did = append(p.did, "set "+string(d.Setting))
	return nil
}

func TestProvisioning(t *testing.T) {
	p := &provisioner{place: &place{}}
	wanted := provision.Difference{Setting: provision.ScanOnPush}
	for name, tt := range map[string]struct {
		target  registry.Target
		can     bool
		refusal error
		tells   bool
	}{
		"it does":             {p, true, nil, true},
		"read-only":           {registry.ReadOnly(p), true, registry.ErrReadOnly, true},
		"without the ability": {p.place, false, registry.ErrUnsupported, false},
		"read-only without":   {registry.ReadOnly(p.place), false, registry.ErrReadOnly, false},
	} {
		t.Run(name, func(t *testing.T) {
			p.did = nil
			if can := registry.CanCreateRepository(tt.target, repo); can != tt.can {
				t.Errorf("can create: %t", can)
			}
			created, err := registry.CreateRepository(t.Context(), tt.target, repo, provision.Settings{})
			if !errors.Is(err, tt.refusal) || created != (tt.refusal == nil) {
				t.Errorf("create: %t, %v", created, err)
			}
			if err := registry.Reconcile(t.Context(), tt.target, repo, provision.Settings{}, wanted); !errors.Is(err, tt.refusal) {
				t.Errorf("reconcile: %v", err)
			}
			differences, err := registry.Differences(t.Context(), tt.target, repo, provision.Settings{})
			if tt.tells != (err == nil) || tt.tells != (len(differences) == 1) || !tt.tells && !errors.Is(err, registry.ErrUnsupported) {
				t.Errorf("differences: %v, %v", differences, err)
			}
			var want []string
			if tt.refusal == nil {
				want = []string{"create team/app", "set scanOnPush"}
			}
			if diff := cmp.Diff(want, p.did); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
