package ecrlocal

import (
	"math"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Throttle tunes the metering of operations. It matters only where [Quirks.Throttle] is on.
// The zero value applies the published default rates.
type Throttle struct {
	// Off lifts every limit.
	Off bool
	// Scale multiplies every rate; 0 means 1.
	Scale float64
	// Rates overrides the rate per second of actions such as "ecr:PutImage"; a bare
	// "PutImage" means ECR's. A rate of 0 or less lifts that limit. Scale does not apply.
	Rates map[string]float64
}

// publishedRates are the default quotas per second, account and Region. Operations that are
// not here have no published rate and are not metered.
func publishedRates() map[string]float64 {
	return map[string]float64{
		"ecr:GetAuthorizationToken":       500,
		"ecr:BatchCheckLayerAvailability": 1000,
		"ecr:InitiateLayerUpload":         100,
		"ecr:UploadLayerPart":             500,
		"ecr:CompleteLayerUpload":         100,
		"ecr:PutImage":                    10,
		"ecr:BatchGetImage":               2000,
		"ecr:GetDownloadUrlForLayer":      3000,

		"ecr-public:PutImage":                    10,
		"ecr-public:InitiateLayerUpload":         10,
		"ecr-public:CompleteLayerUpload":         10,
		"ecr-public:UploadLayerPart":             260,
		"ecr-public:BatchCheckLayerAvailability": 200,
	}
}

// meter is a token bucket per action and registry. A bucket holds one second's worth.
type meter struct {
	rates map[string]float64

	mu      sync.Mutex
	buckets map[meterKey]*rate.Limiter
}

type meterKey struct {
	action string
	target registryKey
}

func newMeter(on bool, t Throttle) *meter {
	m := &meter{rates: make(map[string]float64), buckets: make(map[meterKey]*rate.Limiter)}
	if !on || t.Off {
		return m
	}
	scale := t.Scale
	if scale == 0 {
		scale = 1
	}
	for action, perSecond := range publishedRates() {
		m.rates[action] = perSecond * scale
	}
	for action, perSecond := range t.Rates {
		if !strings.Contains(action, ":") {
			action = "ecr:" + action
		}
		m.rates[action] = perSecond
	}
	return m
}

// allow takes one token for action on target and reports whether there was one.
func (m *meter) allow(action string, target registryKey, now time.Time) bool {
	perSecond := m.rates[action]
	if perSecond <= 0 {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := meterKey{action, target}
	bucket, ok := m.buckets[key]
	if !ok {
		bucket = rate.NewLimiter(rate.Limit(perSecond), int(math.Max(1, perSecond)))
		m.buckets[key] = bucket
	}
	return bucket.AllowN(now, 1)
}
