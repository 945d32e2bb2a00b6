package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// importDockerSync reads the files of Altinity/docker-sync, which its mergeYaml makes
// one of. Keys may be in any case: its writeConfig writes them in lower case.
func importDockerSync(d *draft, files []*value) {
	s := dockerSync{draft: d, users: make(map[string]bool)}
	for _, file := range files {
		s.file(file)
	}
}

// dockerSync is one import of its files.
type dockerSync struct {
	*draft
	users   map[string]bool // the registries that have been read, by url
	sources []*value        // of the images that are mirrored
	targets []*value
}

func (s *dockerSync) file(file *value) {
	sync := file.get("sync")
	s.run(file, sync)
	s.elsewhere(file)
	for _, registry := range sync.get("registries").items() {
		s.entry(registry)
	}
	images := sync.get("images")
	if !images.has() {
		s.note(file, Changed, "a file without images mirrors nothing", "docker-sync would run its placeholder, which copies ubuntu onto itself")
	}
	for _, image := range images.items() {
		s.image(image)
	}
	s.oneShot("SOURCE", s.sources)
	s.oneShot("TARGET", s.targets)
}

// setting returns a single value of the file, or of the environment where that has it:
// docker-sync's prefix and the key with its dots, in upper case.
func (s *dockerSync) setting(v *value) string {
	if text, ok := s.env("DOCKERSYNC_" + strings.ToUpper(v.key)); ok && text != "" {
		v.skip()
		return text
	}
	return v.text()
}

// run reads what is a matter of the run: the interval, errors, and how tags are
// compared.
func (s *dockerSync) run(file, sync *value) {
	interval := sync.get("interval")
	written, every := s.interval(interval)
	s.settings.Interval = max(every, shortestInterval)
	if every < shortestInterval {
		s.defaults.text("schedule", shortestInterval.String(), interval).
			note(interval, Changed, "every "+shortestInterval.String()+" instead of every "+every.String(), "a bare number counts nanoseconds for docker-sync")
	} else if line := s.defaults.text("schedule", written, interval); !interval.has() {
		line.comment("What docker-sync does where no sync.interval is given.")
	}
	s.settings.MaxErrors = s.maxErrors(sync.get("maxErrors"))
	s.defaults.text("immutableTags", "*", file).
		comment("docker-sync never looks again at a tag that the target has, unless mutableTags names it; see mutable below.")
}

var bareNumber = regexp.MustCompile(`^[0-9]+$`)

// interval reads sync.interval, as it is written and as the time that it means.
func (s *dockerSync) interval(v *value) (written string, every time.Duration) {
	written = s.setting(v)
	switch {
	case written == "":
		written = "30m"
	case bareNumber.MatchString(written):
		written += "ns"
	}
	every, err := time.ParseDuration(written)
	if err != nil || every < 0 {
		v.fail(quoted(written)+" is not a duration", "a duration such as 30m")
	}
	return written, every
}

// maxErrors reads sync.maxErrors; 0 is no limit. docker-sync's own limit of 5 where there
// is none is not carried over: it hardly ever counted anything.
func (s *dockerSync) maxErrors(v *value) int {
	written := s.setting(v)
	if written == "" {
		return 0
	}
	most, err := strconv.Atoi(written)
	if err != nil || most < 0 {
		v.fail(quoted(written)+" is not a number of errors", "a whole number, 0 for no limit")
	}
	if most > 0 {
		v.note(Changed, fmt.Sprintf("a limit of %d errors is a matter of the run, not of this file", most),
			fmt.Sprintf("--max-errors %d, which counts all that fails; docker-sync counted images whose tags could not be listed, and never what it could not copy", most))
	}
	return most
}

// elsewhere notes the sections that are no matter of this file.
func (s *dockerSync) elsewhere(file *value) {
	telemetry := Ignored
	if file.path("telemetry", "enabled").flag(false) {
		telemetry = Lost
	}
	switch strings.ToUpper(file.path("logging", "level").text()) {
	case "DEBUG", "TRACE":
		s.settings.Debug = true
	}
	s.without(file.get("ecr"), Ignored, "one Region for all of ECR", "the host of each registry says its Region",
		"region")
	s.without(file.get("logging"), Ignored, "how lines are logged", "the section log and the flags --log-… say that; lines go to standard error",
		"level", "format", "output", "colors", "timeFormat")
	s.without(file.get("telemetry"), telemetry, "metrics", "the daemon serves them at /metrics, and sync --metrics-print writes them when the run ends; docs/metrics.md has the names",
		"enabled", "metrics.exporter", "metrics.prometheus.address", "metrics.prometheus.path", "metrics.stdout.interval")
	s.without(file.path("sync", "s3"), Ignored, "how buckets are written", "registries.BUCKET.limits bounds it; nothing is remembered of a bucket from run to run",
		"maxConcurrentUploads", "maxPurgeConcurrency", "objectCache.enabled", "objectCache.expirationTime", "objectCache.capacity")
}

// without notes a section that nothing becomes of, and reads its keys.
func (s *dockerSync) without(section *value, severity Severity, what, why string, keys ...string) {
	if !section.has() {
		return
	}
	for _, key := range keys {
		section.path(strings.Split(key, ".")...).skip()
	}
	section.note(severity, what, why)
}

// entry reads one of sync.registries.
func (s *dockerSync) entry(registry *value) {
	name, url, auth := registry.get("name"), registry.get("url"), registry.get("auth")
	address, label := url.text(), name.text()
	if !registry.isMap() || !url.given("the registry's host") {
		return
	}
	username, password := auth.get("username").text(), auth.get("password").text()
	token, helper := auth.get("token"), auth.get("helper")
	if token.text() != "" {
		token.note(Ignored, "a token", "docker-sync never sends it; credentials.token of a registry would")
	}
	if s.users[address] {
		registry.note(Ignored, "a second entry for "+quoted(address), "docker-sync takes the first")
		return
	}
	s.users[address] = true
	host, without := hostOf(address)
	if bucket, ok := s.bucket(address+":image", url); ok {
		host = bucket.Repository.Host
	}
	switch {
	case host == "":
		registry.note(without.severity, without.what, without.why)
	case username != "" && password != "":
		s.credentials(host, username, password, auth)
		s.registry(host, registry).comment(label)
	case username != "" || password != "":
		auth.note(Ignored, "a username or a password alone", "docker-sync needs both, and so does this")
	}
	s.helper(helper)
}

// remark is what there is to say about something that is left out.
type remark struct {
	severity  Severity
	what, why string
}

// hostOf returns the host that a registry's url stands for, or why there is none.
func hostOf(url string) (string, remark) {
	host, alias, _ := strings.Cut(url, "/")
	switch {
	case isBucket(url + ":image"):
		return "", remark{Lost, "the credentials of the bucket " + quoted(url), noBucket}
	case strings.Contains(url, "://"):
		return "", remark{Ignored, "the registry " + quoted(url), "docker-sync compares it with the host of each image, which has no scheme: it matches none"}
	case alias != "" && host != "public.ecr.aws":
		return "", remark{Ignored, "the registry " + quoted(url), "docker-sync compares it with the host of each image, which has no path: it matches none"}
	}
	return host, remark{}
}

// helper says what becomes of a credential helper.
func (s *dockerSync) helper(v *value) {
	switch name := v.text(); name {
	case "":
	case "ecr", "ecr-public":
		v.note(Ignored, "the helper "+name, "hosts of ECR are known as such, and get the AWS credentials of the environment")
	default:
		v.note(Ignored, "the helper "+quoted(name), "docker-sync knows ecr and ecr-public, and takes the machine's login files where another is named")
	}
}

// image reads one of sync.images.
func (s *dockerSync) image(image *value) {
	source, targets := image.get("source"), image.get("targets")
	if !image.isMap() || !source.given("the repository to mirror from") {
		return
	}
	to, texts := s.destinations(targets)
	tags, purge := newTagChoice(image), image.get("purge")
	purged := purge.flag(false)
	if len(to) == 0 {
		return
	}
	m := s.mirror(source.text(), image)
	m.text("from", source.text(), source)
	m.texts("to", texts, targets, to...)
	tags.write(m)
	if purged {
		tags.prune(m, purge)
	}
	s.sources, s.targets = append(s.sources, source), append(s.targets, to...)
	for _, v := range append(to, source) {
		s.crossed(v)
	}
}

// destinations returns the targets that can be mirrored to, and how they are written here.
func (s *dockerSync) destinations(targets *value) (to []*value, texts []string) {
	items := targets.items()
	if len(items) == 0 && !targets.isMap() {
		targets.fail("nothing is given", "at least one repository to mirror to")
	}
	for _, target := range items {
		if !target.given("a repository to mirror to") {
			continue
		}
		text := target.text()
		bucket, ok := s.bucket(text, target)
		switch {
		case ok:
			text = bucket.String()
		case isBucket(text):
			s.note(target, Lost, "nothing is mirrored to the bucket "+quoted(text), noBucket)
			continue
		}
		to, texts = append(to, target), append(texts, text)
	}
	return to, texts
}

// bucket reads a target in object storage. The Region of the bucket becomes a setting of it.
func (s *dockerSync) bucket(text string, from *value) (ref.Reference, bool) {
	to, region, ok, err := ref.ParseDockerSync(text)
	if !ok || err != nil {
		return ref.Reference{}, false
	}
	host := to.Repository.Host
	if known := s.hosts[host]; region == "" || known != nil && known.section.has("s3") {
		s.registry(host, from)
		return to, true
	}
	s.registry(host, from).section("s3", from).text("region", region, from).
		note(from, Changed, "objects get no ACL", "docker-sync made each of them public; a bucket policy does that, and acl: public-read here")
	return to, true
}

// isBucket recognises a target in object storage: four fields.
func isBucket(target string) bool { return strings.Count(target, ":") == 3 }

const noBucket = "it is none: expected s3:REGION:BUCKET or r2:ACCOUNT:BUCKET, as names of buckets are written"

// crossed notes where docker-sync sent Docker Hub's password to another registry: it
// takes a reference of two parts for one of Docker Hub.
func (s *dockerSync) crossed(v *value) {
	hub, ok := s.hosts["docker.io"]
	parsed, err := ref.ParseRepository(v.text())
	if !ok || hub.username == "" || err != nil || parsed.Host == "docker.io" || strings.Count(v.text(), "/") != 1 {
		return
	}
	v.note(Changed, quoted(parsed.Host)+" does not get Docker Hub's password", "docker-sync sent it there")
}

// oneShot reads the environment variables of docker-sync's command for one image, which
// name nobody's registry: they are followed where there is only one that they can mean.
func (s *dockerSync) oneShot(side string, repositories []*value) {
	user, password := "DOCKER_SYNC_"+side+"_USERNAME", "DOCKER_SYNC_"+side+"_PASSWORD"
	hasUser, hasPassword := s.isSet(user), s.isSet(password)
	if !hasUser && !hasPassword || len(repositories) == 0 {
		return
	}
	if token := "DOCKER_SYNC_" + side + "_TOKEN"; s.isSet(token) {
		repositories[0].note(Ignored, token, "docker-sync never sends it")
	}
	hosts := make(map[string]bool)
	for _, v := range repositories {
		if parsed, err := ref.ParseRepository(v.text()); err == nil {
			hosts[parsed.Host] = true
		}
	}
	first := repositories[0]
	parsed, err := ref.ParseRepository(first.text())
	if !hasUser || !hasPassword || len(hosts) != 1 || err != nil {
		s.note(first, Ignored, fmt.Sprintf("%s and %s are not followed", user, password), "that takes both of them, and one registry that they can be for")
		return
	}
	s.references(parsed.Host, "${"+user+"}", "${"+password+"}", first)
}

func (s *dockerSync) isSet(name string) bool {
	value, ok := s.env(name)
	return ok && value != ""
}

// A tagChoice is which tags of an image are mirrored, and which may change.
type tagChoice struct {
	tags, mutable, ignored *value

	literals, globs, regex []string
	exclude                []string
	changing               []string // globs
	widened                *value   // what mutable takes too widely
}

func newTagChoice(image *value) *tagChoice {
	c := &tagChoice{tags: image.get("tags"), mutable: image.get("mutableTags"), ignored: image.get("ignoredTags")}
	for _, tag := range listed(c.tags) {
		c.choose(tag)
	}
	c.exclude = listed(c.ignored)
	for _, glob := range listed(c.mutable) {
		plain := otherWildcards.ReplaceAllString(glob, "*")
		if plain != glob {
			c.widened = c.mutable
		}
		c.changing = append(c.changing, plain)
	}
	return c
}

// prune writes that what is not chosen is removed. docker-sync spares the tags that it
// ignores, and those that are mutable by their very name.
func (c *tagChoice) prune(m *section, purge *value) {
	protect := slices.Clone(c.exclude)
	for _, tag := range c.changing {
		if !strings.Contains(tag, "*") && !slices.Contains(protect, tag) {
			protect = append(protect, tag)
		}
	}
	const what = "tags that are not chosen are reported until --prune-max, --prune-max-share and --state are given, and go once they have been so for a week"
	const why = "docker-sync removes them at once, with every tag of the same image"
	if len(protect) == 0 {
		m.flag("prune", true, purge).note(purge, Changed, what, why)
		return
	}
	rules := m.section("prune", purge)
	rules.texts("protect", protect, purge)
	rules.note(purge, Changed, what, why)
}

// listed returns the texts of a list, each once. Its empty items say nothing.
func listed(v *value) []string {
	var texts []string
	for _, item := range v.items() {
		if text := item.text(); text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// everyVersion is what docker-sync's @semver takes: any version with its suffix.
const everyVersion = `v?[0-9]+(\.[0-9]+){0,2}(-[0-9A-Za-z.-]+)?`

// otherWildcards are what globs of files have besides the star.
var otherWildcards = regexp.MustCompile(`\?|\[[^\]]*\]`)

func (c *tagChoice) choose(tag string) {
	switch {
	case tag == "@semver":
		c.regex = append(c.regex, everyVersion)
	case !strings.Contains(tag, "*"):
		c.literals = append(c.literals, tag)
	case otherWildcards.MatchString(tag):
		c.regex = append(c.regex, globExpression(tag))
	default:
		c.globs = append(c.globs, tag)
	}
}

// globExpression writes a glob of files as an expression.
func globExpression(glob string) string {
	var b strings.Builder
	for glob != "" {
		at := strings.IndexAny(glob, "*?[")
		if at < 0 {
			at = len(glob)
		}
		b.WriteString(regexp.QuoteMeta(glob[:at]))
		glob = glob[at:]
		switch class := otherWildcards.FindString(glob); {
		case glob == "":
		case glob[0] == '*':
			b.WriteString(".*")
			glob = glob[1:]
		case glob[0] == '?':
			b.WriteByte('.')
			glob = glob[1:]
		case strings.HasPrefix(glob, class) && class != "":
			b.WriteString(class)
			glob = glob[len(class):]
		default:
			b.WriteString(regexp.QuoteMeta(glob[:1]))
			glob = glob[1:]
		}
	}
	return b.String()
}

// write writes the choice below a mirror.
func (c *tagChoice) write(m *section) {
	if len(c.literals)+len(c.globs)+len(c.regex)+len(c.exclude)+len(c.changing) == 0 {
		m.text("tags", "*", c.tags)
		return
	}
	tags := m.section("tags", c.tags)
	if len(c.literals)+len(c.globs)+len(c.regex) == 0 {
		c.globs = []string{"*"}
	}
	for _, terms := range []struct {
		key   string
		texts []string
	}{{"literals", c.literals}, {"globs", c.globs}, {"regex", c.regex}} {
		if len(terms.texts) == 0 {
			continue
		}
		line := tags.texts(terms.key, terms.texts, c.tags)
		if terms.key == "regex" && slices.Contains(terms.texts, everyVersion) {
			line.comment(`@semver: what docker-sync takes for a version, with any suffix. semver: "*" would be the plain releases.`)
		}
	}
	if len(c.exclude) > 0 {
		tags.section("exclude", c.ignored).texts("literals", c.exclude, c.ignored)
	}
	if len(c.changing) > 0 {
		line := tags.texts("mutable", c.changing, c.mutable)
		if c.widened != nil {
			line.note(c.widened, Changed, "a few tags more may be compared", "globs have no wildcard here but the star")
		}
	}
}
