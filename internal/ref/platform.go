package ref

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Platform is what an image runs on: os/architecture[/variant]. A Platform without
// a variant stands for every variant of its architecture.
type Platform struct {
	OS           string
	Architecture string
	Variant      string
}

var platformPart = regexp.MustCompile(`^[a-z0-9_.-]+$`)

// ParsePlatform reads "linux/amd64" or "linux/arm64/v8". Names that Go and the OCI
// specification spell differently from uname (x86_64, aarch64) are accepted.
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return Platform{}, fmt.Errorf("%q is not a platform: expected os/architecture[/variant], such as linux/arm64", s)
	}
	for _, part := range parts {
		if !platformPart.MatchString(part) {
			return Platform{}, fmt.Errorf("%q is not a platform: expected lower-case os/architecture[/variant], such as linux/arm64", s)
		}
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p.Normalized(), nil
}

// String writes the platform as ParsePlatform reads it.
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Normalized spells the architecture as the OCI specification does and drops the
// variants that say nothing: arm64/v8 and amd64/v1 are what the bare names mean.
func (p Platform) Normalized() Platform {
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	}
	if p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8") {
		p.Variant = ""
	}
	if p.Architecture == "amd64" && p.Variant == "v1" {
		p.Variant = ""
	}
	return p
}

// Matches reports whether an image for q is one that p asks for. Where p names no
// variant, every variant of the architecture is.
func (p Platform) Matches(q Platform) bool {
	p, q = p.Normalized(), q.Normalized()
	return p.OS == q.OS && p.Architecture == q.Architecture && (p.Variant == "" || p.Variant == q.Variant)
}

// FormatPlatforms writes a set of platforms in one stable form: sorted, without
// repeats, joined with commas.
func FormatPlatforms(platforms []Platform) string {
	names := make([]string, 0, len(platforms))
	for _, p := range platforms {
		names = append(names, p.Normalized().String())
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}
