package ecrlocal_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, ecrlocaltest.IgnoreRegistryGoroutine())
}
