package model_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/model"
)

// budget makes for some five to fifty thousand states in each world.
var budget = model.Budget{Moves: 1, Crashes: 1, Lost: 1, Collections: 2, Again: 1}

// Whatever happens, the tag leads to a whole image, success is true, and nothing is lost,
// in registries that check what a manifest names, and in others as long as nobody collects.
func TestTheTagIsAlwaysWhole(t *testing.T) {
	for _, w := range []model.World{
		{Strict: true},
		{Strict: true, Before: 2},
		{Strict: true, Collector: model.AtOnce},
		{Strict: true, Collector: model.AtOnce, Before: 2},
		{Strict: false},
		{Strict: false, Before: 2},
	} {
		w.Budget = budget
		if w.Collector != model.NoCollector {
			w.Budget.Again = 0 // twenty times the states, and a minute with the race detector
		}
		t.Run(fmt.Sprintf("strict %v, collector %d, before %d", w.Strict, w.Collector, w.Before), func(t *testing.T) {
			t.Parallel()
			states, err := model.Explore(w)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d states", states)
			if states < 1000 {
				t.Errorf("%d states are too few to say anything", states)
			}
			faults.Covers(t, "I1", "I2", "I7", "I10", "I11")
		})
	}
}

// What no copier can prevent is said here and in docs/reliability.md: a registry that takes manifests
// unchecked, or that sweeps what it marked long ago, can lose what was just brought. `verify`
// finds it.
func TestWhatTheRegistryMayStillLose(t *testing.T) {
	for _, w := range []model.World{
		{Strict: false, Collector: model.AtOnce},
		{Strict: true, Collector: model.MarkThenSweep},
	} {
		breaks(t, w, "I1")
	}
}

// Each rule of the copier is needed: without it the model finds a way to break a promise.
func TestEachRuleIsNeeded(t *testing.T) {
	for _, test := range []struct {
		world model.World
		rule  string
	}{
		{model.World{Sabotage: model.TagFirst}, "I1"},
		{model.World{Strict: true, Sabotage: model.NoLook}, "I10"},
		{model.World{Strict: true, Sabotage: model.NoReadBack}, "I11"},
		{model.World{Strict: true, Sabotage: model.ResolveAgain}, "I2"},
	} {
		breaks(t, test.world, test.rule)
	}
}

func breaks(t *testing.T, w model.World, rule string) {
	t.Helper()
	w.Budget = budget
	_, err := model.Explore(w)
	var broken *model.Broken
	if !errors.As(err, &broken) || !strings.HasPrefix(broken.Rule, rule) {
		t.Errorf("%+v: %v; want %s to be broken", w, err, rule)
	}
}
