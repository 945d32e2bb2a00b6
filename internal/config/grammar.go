package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// A grammar is what a text may look like.
type grammar struct {
	noun     string      // "a tag": what the text is
	expected string      // what a problem asks for
	values   []string    // all there are; nil where they cannot be listed
	pattern  *expression // nil where any text fits
	check    func(string) error
	empty    bool // whether the text may be ""
	loose    bool // whether the text may look like a number or a switch, as the tag 1.10 does
}

// read returns what is wrong with a text, nil where it is well formed.
func (g grammar) read(s string) error {
	switch {
	case len(s) > maxText, s == "" && !g.empty:
	case g.values != nil && !slices.Contains(g.values, s):
	case g.pattern != nil && !g.pattern.MatchString(s):
	case g.check != nil:
		return g.check(s)
	default:
		return nil
	}
	return errors.New(isNot(s, g.noun))
}

// maxText is the most bytes a text may have. Expressions cost memory by their length.
const maxText = 4096

// Lengths of what is compiled.
const (
	maxExpression = 1000 // characters
	maxExpanded   = 5000 // steps
	maxTemplate   = 1000
)

var (
	mirrorName       = pattern(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$`)
	mirrorGlob       = pattern(`^[A-Za-z0-9*][A-Za-z0-9._:/*-]{0,255}$`)
	tagPattern       = pattern(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	globPattern      = pattern(`^[A-Za-z0-9_*][A-Za-z0-9._*-]{0,127}$`)
	pinPattern       = pattern(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}@sha(256|384|512):[0-9a-f]{64,128}$`)
	platformPattern  = pattern(`^[a-z0-9_.-]+/[a-z0-9_.-]+(/[a-z0-9_.-]+)?$`)
	platformsPattern = pattern(`^(all|[a-z0-9_.-]+/[a-z0-9_.-]+(/[a-z0-9_.-]+)?)$`)
	accountPattern   = pattern(`^[0-9]{12}$`)
	regionPattern    = pattern(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	rolePattern      = pattern(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+$`)
	externalID       = pattern(`^[A-Za-z0-9_+=,.@:/-]{2,1000}$`) // STS takes 1224; RE2 counts to 1000
	sessionName      = pattern(`^[A-Za-z0-9_+=,.@-]{2,64}$`)
	endpointURL      = pattern(`^https?://[A-Za-z0-9._-]+(:[0-9]+)?(/[^?#\s]*)?$`)
	exclusionPattern = pattern(`^[A-Za-z0-9._*-]{1,128}$`)
	resourceTagKey   = pattern(`^[A-Za-z0-9 _.:/=+@-]{1,128}$`)
	pathPrefix       = pattern(`^[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*$`)
	repositoryGlob   = pattern(`^[a-z0-9*][a-z0-9._/*-]*$`)
)

const (
	expectedRepository = "a repository such as docker.io/library/nginx"
	expectedGlob       = "letters, digits, _ . - and the wildcard *, not beginning with . or -"
	expectedDuration   = "a duration such as 90s, 30m or 6h"
)

// grammarOf returns the grammar that an "is" tag names.
func grammarOf(is string) grammar {
	switch is {
	case "apiVersion":
		return grammar{noun: "a version of this format", expected: APIVersion, values: []string{APIVersion}}
	case "name":
		return grammar{noun: "a name", expected: "letters, digits, and . _ / - inside, at most 128", pattern: mirrorName, loose: true}
	case "host":
		return grammar{noun: "a registry host", expected: "a registry host, as references write it: docker.io, quay.io:443", check: checkHost}
	case "place":
		return grammar{noun: "a registry host", expected: "a registry host, as references write it: docker.io, quay.io:443; a bucket: s3://BUCKET, r2://ACCOUNT/BUCKET; or a directory of layouts: oci:DIR, oci-archive:DIR", check: checkPlace}
	case "upstreamPlace":
		return grammar{noun: "a registry host", expected: "a registry host, as references write it: docker.io, quay.io:443; or a directory of layouts: oci:DIR", check: checkUpstreamPlace}
	case "repository":
		return grammar{noun: "a repository", expected: expectedRepository, check: checkRepository}
	case "destination":
		return grammar{noun: "a repository", expected: "a repository such as registry.example.com/mirror/nginx or s3://BUCKET/mirror/nginx or oci:DIR/nginx", check: checkDestination}
	case "repositoryPattern":
		return grammar{noun: "a pattern", expected: "a path, a glob such as team/* or team/**, or regex: and an expression", check: checkRepositoryPattern}
	case "upstreamPattern":
		return grammar{noun: "a pattern of upstream repositories", expected: "HOST[/PATH…], with * within a segment", check: checkUpstreamPattern}
	case "network":
		return grammar{noun: "a network", expected: "a network such as 10.20.0.0/16 or fd12:3456::/32", check: checkNetwork}
	case "lister":
		return grammar{noun: "a lister", expected: "catalog, ecr, ecr-public, docker-hub or docker-hub-search", values: []string{"catalog", "ecr", "ecr-public", "docker-hub", "docker-hub-search"}}
	case "pathPrefix":
		return grammar{noun: "a path", expected: "lower-case path segments such as mirror/team", pattern: pathPrefix, loose: true}
	case "pathRegexp":
		return grammar{noun: "an expression", expected: "an RE2 expression of at most 1000 characters", check: checkExpression}
	case "replacement":
		return grammar{noun: "a replacement", expected: "a text in which $1 stands for a group", empty: true}
	case "template":
		return grammar{noun: "a template", expected: "a Go template such as mirror/{{.Namespace}}-{{.Name}}", check: checkTemplate}
	case "path":
		return grammar{noun: "a path", expected: "the path of a file or directory"}
	case "tlsVersion":
		return grammar{noun: "a version of TLS", expected: "1.2 or 1.3", values: []string{"1.2", "1.3"}, loose: true}
	case "logLevel":
		return grammar{noun: "a level", expected: "debug, info, warn or error", values: []string{"debug", "info", "warn", "error"}}
	case "logFormat":
		return grammar{noun: "a format of log lines", expected: "console or json", values: []string{"console", "json"}}
	case "when":
		return grammar{noun: "when", expected: "auto, always or never", values: []string{"auto", "always", "never"}}
	case "notifyEvent":
		return grammar{noun: "an event", expected: "failed, drift or recovered", values: []string{"failed", "drift", "recovered"}}
	case "mirrorGlob":
		return grammar{noun: "a pattern of mirrors", expected: "a name of a mirror or a destination, with * for any text", pattern: mirrorGlob, loose: true}
	case "text":
		return grammar{noun: "a text", expected: "a text", loose: true}
	}
	if g, ok := bucketGrammarOf(is); ok {
		return g
	}
	return tagGrammarOf(is)
}

// tagGrammarOf is the part of grammarOf that is about tags, and platforms, times and
// AWS.
func tagGrammarOf(is string) grammar {
	switch is {
	case "tag":
		return grammar{noun: "a tag", expected: "at most 128 of letters, digits, _ . and -, not beginning with . or -", pattern: tagPattern, loose: true}
	case "glob":
		return grammar{noun: "a glob of tags", expected: expectedGlob, pattern: globPattern, loose: true}
	case "range":
		return grammar{noun: "a range", expected: "a range of versions such as >=1.2 <2", check: checkRange, loose: true}
	case "regexp":
		return grammar{noun: "an expression", expected: "an RE2 expression of at most 1000 characters", check: checkRegexp, loose: true}
	case "pin":
		return grammar{noun: "a digest with a name", expected: "NAME@sha256: and 64 hexadecimal digits", pattern: pinPattern, check: checkPin}
	case "mode":
		return grammar{noun: "a mode", expected: "highest, higher, semver or all", values: []string{"highest", "higher", "semver", "all"}}
	case "order":
		return grammar{noun: "an order", expected: "version, created or name", values: []string{"version", "created", "name"}}
	case "platform":
		return grammar{noun: "a platform", expected: "os/architecture[/variant], such as linux/arm64", pattern: platformPattern}
	case "platforms":
		return grammar{noun: "a platform", expected: "all, or platforms such as linux/amd64", pattern: platformsPattern}
	case "interval":
		return grammar{noun: "an interval", expected: expectedDuration + ", at least 30s", check: checkInterval}
	case "duration":
		return grammar{noun: "a duration", expected: expectedDuration, check: checkDuration}
	case "grace":
		return grammar{noun: "a time to wait", expected: expectedDuration + ", above 0", check: checkGrace}
	case "share":
		return grammar{noun: "a share", expected: "a percentage such as 10%", check: checkShare, loose: true}
	case "state":
		return grammar{noun: "a file or an object in a bucket", expected: "the path of a file, or s3://BUCKET/KEY", check: checkState}
	case "cron":
		return grammar{noun: "a cron expression", expected: "minute, hour, day, month and weekday, or @hourly, @daily …", check: checkCron}
	case "timeZone":
		return grammar{noun: "a time zone", expected: "a name such as Europe/Berlin", pattern: timeZone}
	case "account":
		return grammar{noun: "an account", expected: "twelve digits", pattern: accountPattern, loose: true}
	case "region":
		return grammar{noun: "an AWS Region", expected: "a Region such as eu-central-1", pattern: regionPattern}
	case "role":
		return grammar{noun: "a role", expected: "an ARN such as arn:aws:iam::111122223333:role/mirror", pattern: rolePattern}
	case "externalId":
		return grammar{noun: "an external id", expected: "2 to 1000 of letters, digits and _ + = , . @ : / -", pattern: externalID, loose: true}
	case "sessionName":
		return grammar{noun: "a session name", expected: "2 to 64 of letters, digits and _ + = , . @ -", pattern: sessionName, loose: true}
	case "url":
		return grammar{noun: "a URL", expected: "a URL such as https://vpce-0123.api.ecr.eu-central-1.vpce.amazonaws.com", pattern: endpointURL}
	case "encryption":
		return grammar{noun: "an encryption", expected: "AES256, KMS or KMS_DSSE", values: []string{"AES256", "KMS", "KMS_DSSE"}}
	case "mutability":
		return grammar{noun: "a mode", expected: "MUTABLE, IMMUTABLE, MUTABLE_WITH_EXCLUSION or IMMUTABLE_WITH_EXCLUSION", values: []string{"MUTABLE", "IMMUTABLE", "MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION"}}
	case "exclusion":
		return grammar{noun: "a filter", expected: "at most 128 of letters, digits, . _ - and the wildcard *", pattern: exclusionPattern, loose: true}
	case "resourceTagKey":
		return grammar{noun: "a resource-tag key", expected: "at most 128 of letters, digits, spaces and _ . : / = + - @", pattern: resourceTagKey}
	}
	return grammar{noun: "a text", expected: "a text"}
}

func checkNetwork(s string) error {
	if _, err := netip.ParsePrefix(s); err != nil {
		return errors.New(isNot(s, "a network"))
	}
	return nil
}

// checkPlace takes a registry host, a bucket, or a directory.
func checkPlace(s string) error {
	switch {
	case isLocal(s):
		return checkDirectory(s)
	case !isBucket(s):
		return checkHost(s)
	}
	if _, err := ref.ParsePlace(s); err != nil {
		return errors.New(isNot(s, "a bucket"))
	}
	return nil
}

// checkUpstreamPlace takes a registry host, or a directory of layouts. The files of
// another directory are not listed: an archive is named.
func checkUpstreamPlace(s string) error {
	if strings.HasPrefix(s, ref.SchemeLayout+":") {
		return checkDirectory(s)
	}
	return checkHost(s)
}

func checkDirectory(s string) error {
	clean, err := ref.ParsePlace(s)
	switch {
	case err != nil:
		return errors.New(isNot(s, "a directory"))
	case clean != s:
		return fmt.Errorf("%s is the directory %s", quoted(s), quoted(clean))
	}
	return nil
}

// isLocal reports whether a text means a directory or file on disk.
func isLocal(s string) bool {
	return strings.HasPrefix(s, ref.SchemeLayout+":") || strings.HasPrefix(s, ref.SchemeArchive+":")
}

// checkHost takes a host as references write it, so that what is said of it is found.
func checkHost(s string) error {
	repo, err := ref.ParseRepository(s + "/a/b")
	switch {
	case err != nil || strings.ContainsAny(s, "/@ "):
		return errors.New(isNot(s, "a registry host"))
	case repo.Host == s:
		return nil
	case repo.Path == "a/b":
		return fmt.Errorf("%s is called %s in references", quoted(s), repo.Host)
	}
	return fmt.Errorf("%s has no dot and no port, so references take it for a part of a Docker Hub path", quoted(s))
}

func checkRepository(s string) error {
	r, err := parseReference(s)
	switch {
	case err != nil:
		return err
	case r.Digest != "":
		return fmt.Errorf("%s has a digest, which belongs under tags", quoted(s))
	case r.Tag != "":
		return fmt.Errorf("%s has the tag %s, which belongs under tags", quoted(s), quoted(r.Tag))
	}
	return nil
}

// parseReference reads the reference of an upstream, and explains what is commonly taken
// for one.
func parseReference(s string) (ref.Reference, error) {
	scheme, _, hasScheme := strings.Cut(s, "://")
	switch {
	case hasScheme && !isBucket(s):
		return ref.Reference{}, fmt.Errorf("%s begins with %s, which is not part of a repository", quoted(s), quoted(scheme+"://"))
	case isBucket(s):
		return ref.Reference{}, fmt.Errorf("%s is a bucket, and images are mirrored from registries", quoted(s))
	}
	r, err := ref.ParseUpstream(s)
	if err != nil {
		return ref.Reference{}, errors.New(isNot(s, "a repository"))
	}
	return r, nil
}

func checkRepositoryPattern(s string) error {
	_, err := compileRepositories(s)
	return err
}

// compileRepositories compiles a pattern of repository paths. In a glob, * stays within
// a path segment and ** does not.
func compileRepositories(pattern string) (*regexp.Regexp, error) {
	if expression, ok := strings.CutPrefix(pattern, "regex:"); ok {
		return compileWhole(strings.TrimSpace(expression))
	}
	if !repositoryGlob.MatchString(pattern) || len(pattern) > maxExpression {
		return nil, errors.New(isNot(pattern, "a pattern"))
	}
	var expression strings.Builder
	for i, across := range strings.Split(pattern, "**") {
		if i > 0 {
			expression.WriteString(".*")
		}
		for j, within := range strings.Split(across, "*") {
			if j > 0 {
				expression.WriteString("[^/]*")
			}
			expression.WriteString(regexp.QuoteMeta(within))
		}
	}
	return regexp.Compile("^" + expression.String() + "$")
}

// compileWhole compiles an expression that must match as a whole.
func compileWhole(expression string) (*regexp.Regexp, error) {
	if err := checkExpression(expression); err != nil {
		return nil, err
	}
	compiled, err := discover.CompileRegexp(expression)
	if err != nil {
		return nil, expressionProblem(expression, err)
	}
	return compiled, nil
}

// expressionProblem shortens what package regexp says.
func expressionProblem(expression string, err error) error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		err = e
	}
	return fmt.Errorf("%s is not an expression: %s", quoted(expression), quoted(strings.TrimPrefix(err.Error(), "error parsing regexp: ")))
}

func checkRegexp(s string) error {
	_, err := compileWhole(s)
	return err
}

// checkExpression takes expressions that do not grow beyond measure when they are
// compiled: "(a{1000}){1000}" is short.
func checkExpression(s string) error {
	if s == "" || len(s) > maxExpression {
		return fmt.Errorf("an expression of %d characters", len(s))
	}
	parsed, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return expressionProblem(s, err)
	}
	if expanded(parsed) > maxExpanded {
		return fmt.Errorf("%s repeats too much", quoted(s))
	}
	return nil
}

// expanded is about how many steps an expression has, once its counted repetitions are
// written out.
func expanded(e *syntax.Regexp) int {
	steps := 1
	if e.Op == syntax.OpLiteral {
		steps = len(e.Rune)
	}
	for _, sub := range e.Sub {
		steps += expanded(sub)
	}
	if e.Op == syntax.OpRepeat {
		steps *= max(e.Min, e.Max, 1)
	}
	return min(steps, maxExpanded+1)
}

// checkUpstreamPattern takes what mirror.ParseAllowPattern takes.
func checkUpstreamPattern(s string) error {
	segments := strings.Split(strings.Trim(s, "/"), "/")
	for i, segment := range segments {
		if _, err := path.Match(segment, ""); err != nil || segment == "" || i > 0 && strings.ContainsAny(segment, ":@") {
			return errors.New(isNot(s, "a pattern of upstream repositories"))
		}
	}
	if !strings.ContainsAny(segments[0], ".:*") && segments[0] != "localhost" {
		return fmt.Errorf("%s begins with no registry host; Docker Hub is docker.io/%s", quoted(s), oneLine(s))
	}
	return nil
}

// checkRange looks at a range by itself. Whether a suffix in it is a pre-release or a
// variant depends on the rules it stands in.
func checkRange(s string) error {
	term := rangeTerm(s)
	if _, err := selection.Compile(discover.Rules{Choose: []discover.Term{term}, Strict: true}); err != nil {
		return errors.New(isNot(s, "a range of versions"))
	}
	return nil
}

func checkPin(s string) error {
	if _, digest, _ := strings.Cut(s, "@"); digest != "" {
		if _, err := ref.ParseDigest(digest); err != nil {
			return errors.New(isNot(s, "a digest with a name"))
		}
	}
	return nil
}

func checkDuration(s string) error {
	if d, err := time.ParseDuration(s); err != nil || d < 0 {
		return errors.New(isNot(s, "a duration"))
	}
	return nil
}

// besides returns a path as it is seen from the working directory: one that is not
// absolute is meant from the directory of the file it is written in.
func besides(file, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(file), name)
}
