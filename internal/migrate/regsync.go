package migrate

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// importRegsync reads the files of regclient's regsync: credentials and other settings of
// registries, and what is synced from where to where: an image, a repository, or a
// registry.
func importRegsync(d *draft, files []*value) {
	for _, file := range files {
		r := regsync{draft: d, prefixes: make(map[string]string), said: make(remarks)}
		r.file(file)
	}
}

// regsync is one import of one of its files.
type regsync struct {
	*draft
	defaults *value
	prefixes map[string]string // put before every path of a registry, by its host
	said     remarks           // what concerns the file as a whole
}

func (r *regsync) file(file *value) {
	if version := file.get("version"); version.number(1) > 1 {
		version.fail(quoted(version.text())+" is not a version of the file that is known", "1")
	}
	for _, own := range file.entries() {
		if strings.HasPrefix(own.name, "x-") {
			own.skip() // what stands there counts where it is referred to
		}
	}
	for _, host := range file.get("creds").items() {
		r.registryOf(host)
	}
	r.defaults = file.get("defaults")
	r.global()
	for _, entry := range file.get("sync").items() {
		r.entry(entry)
	}
	for _, key := range perEntry() {
		if v := r.defaults.get(key); !v.wasRead() {
			v.skip() // every entry has its own
		}
	}
}

// perEntry returns the keys that entries take from the defaults.
func perEntry() []string {
	return []string{
		"backup", "interval", "schedule", "ratelimit", "digestTags", "referrers", "referrerFilters", "referrerSource", "referrerTarget",
		"referrerSlow", "fastCheck", "fastCopy", "forceRecursive", "includeExternal", "mediaTypes", "hooks",
	}
}

// global notes the settings that concern the whole of regsync.
func (r *regsync) global() {
	for _, setting := range []struct{ key, why string }{
		{"parallel", "--batch says how many images are copied at once"},
		{"blobLimit", "blobs are streamed"},
		{"cacheCount", "what is read is kept for a run"},
		{"cacheTime", "what is read is kept for a run"},
		{"userAgent", ""},
	} {
		r.unused(r.defaults.get(setting.key), setting.why)
	}
	if v := r.defaults.get("skipDockerConfig"); v.flag(false) {
		v.note(Changed, "docker's own credentials are used for registries without any here", "credentials: none keeps them from one")
	}
}

// setting returns what an entry says under a key, or else the defaults.
func (r *regsync) setting(entry *value, key string) *value {
	own, inherited := entry.get(key), r.defaults.get(key)
	if own.has() {
		return own
	}
	return inherited
}

func (r *regsync) entry(entry *value) {
	if !entry.isMap() {
		entry.fail("this is no entry", "a map with source, target and type")
		entry.skip()
		return
	}
	source, target, kind := entry.get("source"), entry.get("target"), entry.get("type")
	from, known := r.expand(source, entry)
	to, alsoKnown := r.expand(target, entry)
	if !source.given("the source") || !target.given("the target") || !kind.given("image, repository or registry") || !known || !alsoKnown {
		entry.skip()
		return
	}
	for _, side := range []struct {
		of   *value
		text string
	}{{source, from}, {target, to}} {
		if scheme, _, found := strings.Cut(side.text, "://"); found {
			side.of.fail(quoted(scheme+"://")+" is not a registry", "a registry: images are not mirrored from or to directories")
			entry.skip()
			return
		}
	}
	switch kind.text() {
	case "image":
		r.image(entry, from, to)
	case "repository":
		r.repository(entry, from, to)
	case "registry":
		r.wholeRegistry(entry, from, to)
	default:
		kind.fail(quoted(kind.text())+" is not a type", "image, repository or registry")
		entry.skip()
	}
}

// image writes a mirror of one tag or digest.
func (r *regsync) image(entry *value, from, to string) {
	source, target := entry.get("source"), entry.get("target")
	upstream, err := ref.Parse(from)
	if err != nil {
		source.fail(err.Error(), "an image such as docker.io/library/nginx:1.27")
	}
	destination, targetErr := ref.Parse(to)
	if targetErr != nil {
		target.fail(targetErr.Error(), "an image such as registry.example.com/nginx:1.27")
	}
	if err != nil || targetErr != nil {
		entry.skip()
		return
	}
	if destination.Digest != "" {
		target.fail(quoted(to)+" has a digest, which a destination cannot be given", "a tag")
	}
	m := r.mirror(upstream.Repository.String()+":"+cmp.Or(upstream.Tag, destination.Tag, latest), entry)
	m.text("from", r.prefixed(upstream.Repository), source)
	there, here := cmp.Or(upstream.Tag, latest), cmp.Or(destination.Tag, latest)
	m.text("to", r.prefixed(destination.Repository)+renamed(there, here, upstream), target)
	if upstream.Digest != "" {
		m.text("tags", here+"@"+upstream.Digest.String(), source)
	} else {
		m.text("tags", there, source)
	}
	for _, key := range []string{"tags", "tagSets", "repos", "targetTag"} {
		r.unused(entry.get(key), "one image is named")
	}
	r.common(m, entry)
}

const latest = "latest"

// renamed returns what names the tag at the destination, where it has another there.
func renamed(there, here string, upstream ref.Reference) string {
	if there == here || upstream.Digest != "" {
		return ""
	}
	return ":" + here
}

// unused notes what has no meaning here, by each of its parts.
func (r *regsync) unused(v *value, why string) {
	switch {
	case v.isMap():
		for _, part := range v.entries() {
			r.unused(part, why)
		}
	case v.isList():
		for _, item := range v.items() {
			r.unused(item, why)
		}
	case v.text() != "":
		v.note(Ignored, "this has no meaning here", why)
	}
}

// prefixed returns a repository with the prefix that its registry has for all of them.
func (r *regsync) prefixed(repository ref.Repository) string {
	if prefix := r.prefixes[repository.Host]; prefix != "" {
		repository.Path = prefix + "/" + repository.Path
	}
	return repository.String()
}

// repository writes a mirror of the tags of a repository that are allowed.
func (r *regsync) repository(entry *value, from, to string) {
	upstream, err := ref.ParseRepository(from)
	if err != nil {
		entry.get("source").fail(err.Error(), "a repository such as docker.io/library/nginx")
	}
	destination, targetErr := ref.ParseRepository(to)
	if targetErr != nil {
		entry.get("target").fail(targetErr.Error(), "a repository such as registry.example.com/nginx")
	}
	if err != nil || targetErr != nil {
		entry.skip()
		return
	}
	m := r.mirror(upstream.String(), entry)
	m.text("from", r.prefixed(upstream), entry.get("source"))
	m.text("to", r.prefixed(destination), entry.get("target"))
	r.tags(m, entry)
	r.unused(entry.get("repos"), "one repository is named")
	r.common(m, entry)
}

// wholeRegistry writes a mirror of the repositories that are allowed.
func (r *regsync) wholeRegistry(entry *value, from, to string) {
	source, target, repos := entry.get("source"), entry.get("target"), entry.get("repos")
	m := r.mirror(from, entry)
	upstream := m.section("from", source)
	upstream.text("registry", canonicalHost(from), source)
	if allow := repos.get("allow"); len(allow.items()) > 0 {
		patterns := make([]string, 0, len(allow.items()))
		for _, item := range allow.items() {
			patterns = append(patterns, "regex: "+item.text())
		}
		line := upstream.texts("repositories", patterns, allow, allow.items()...)
		for _, item := range allow.items() {
			noteAlternatives(line, item, item.text(), "regsync")
		}
	} else {
		upstream.text("repositories", "**", entry)
	}
	if deny := repos.get("deny"); len(deny.items()) > 0 {
		deny.skip()
		deny.fail("repositories cannot be left out", "allow, with the others")
	}
	upstream.number("maxItems", 0, entry)
	host, prefix, _ := strings.Cut(to, "/")
	if r.prefixes[canonicalHost(from)] != "" || r.prefixes[canonicalHost(host)] != "" {
		entry.fail("a pathPrefix of the registry, and repositories that are listed", "the prefix in the paths of source and target")
	}
	destination := m.section("to", target)
	destination.text("registry", canonicalHost(host), target)
	if prefix != "" {
		destination.text("prefix", strings.Trim(prefix, "/"), target)
	}
	r.tags(m, entry)
	r.common(m, entry)
}

// common writes what entries of all types have.
func (r *regsync) common(m *section, entry *value) {
	r.platforms(m, entry)
	r.referrers(m, entry)
	r.schedule(m, entry)
	if v := r.setting(entry, "backup"); v.text() != "" {
		m.note(v, Lost, "what an update replaces gets no tag of its own", "the report has its digest")
	}
	if v := r.setting(entry, "ratelimit"); v.has() {
		v.get("min").text()
		v.get("retry").text()
		r.said.once(v, "no pulls are kept in reserve", "what is the same is told by HEAD, which Docker Hub does not count, and a registry that asks for it is waited for")
	}
	if v := r.setting(entry, "mediaTypes"); v.has() {
		for _, mediaType := range v.items() {
			mediaType.text()
		}
		m.note(v, Changed, "images are not chosen by their media type", "")
	}
	for _, setting := range []struct{ key, why string }{
		{"fastCheck", "a tag whose digest is the same costs one request each side"},
		{"fastCopy", "a tag whose digest is the same costs one request each side"},
		{"forceRecursive", "what the destination has is not copied again; verify looks whether it is whole"},
		{"includeExternal", "layers that live elsewhere are referred to, and not copied"},
		{"hooks", "regsync does not run them either"},
	} {
		if v := r.setting(entry, setting.key); !v.wasRead() {
			r.unused(v, setting.why)
		}
	}
}

func (r *regsync) platforms(m *section, entry *value) {
	one, several := entry.get("platform"), entry.get("platforms")
	if one.text() != "" {
		m.text("platform", one.text(), one)
		r.unused(several, "platform names one")
		return
	}
	if items := several.items(); len(items) > 0 {
		texts := make([]string, 0, len(items))
		for _, item := range items {
			texts = append(texts, item.text())
		}
		m.texts("platforms", texts, several, items...)
	}
}

// referrers writes whether signatures and the like go with the images. regsync tells
// those that the registry lists from those that a tag names.
func (r *regsync) referrers(m *section, entry *value) {
	referrers, digestTags := r.setting(entry, "referrers"), r.setting(entry, "digestTags")
	listed, named := referrers.flag(false), digestTags.flag(false)
	line := m.flag("referrers", listed || named, cmp.Or(present(referrers), present(digestTags), entry))
	switch {
	case listed && !named:
		r.said.once(referrers, "with referrers, what tags such as sha256-….sig name is mirrored too", "regsync does so with digestTags")
	case named && !listed:
		r.said.once(digestTags, "with digestTags, what a registry lists as referrers is mirrored too", "regsync does so with referrers")
	}
	if v := r.setting(entry, "referrerFilters"); v.has() {
		for _, filter := range v.items() {
			filter.get("artifactType").text()
			for _, annotation := range filter.get("annotations").entries() {
				annotation.text()
			}
		}
		line.note(v, Changed, "referrers of every kind are mirrored", "they cannot be told apart")
	}
	for _, key := range []string{"referrerSource", "referrerTarget"} {
		if v := r.setting(entry, key); v.text() != "" {
			line.note(v, Lost, "referrers are read and written beside their images alone", "")
		}
	}
	if v := r.setting(entry, "referrerSlow"); v.flag(false) {
		v.note(Ignored, "this has no meaning here", "")
	}
}

var cronZone = regexp.MustCompile(`^(?:CRON_TZ|TZ)=(\S+)\s+(.*)$`)

// schedule writes when the daemon looks at the mirror.
func (r *regsync) schedule(m *section, entry *value) {
	cron, interval := entry.get("schedule"), entry.get("interval")
	if cron.text() == "" && interval.text() == "" {
		cron, interval = r.defaults.get("schedule"), r.defaults.get("interval")
	}
	written := strings.TrimSpace(cron.text())
	every, isInterval := strings.CutPrefix(written, "@every ")
	switch {
	case isInterval:
		r.interval(m, cron, every)
	case written != "":
		r.cron(m, cron, written)
	case interval.text() != "":
		r.interval(m, interval, interval.text())
	default:
		r.said.once(entry, "a daemon looks at entries without a schedule too, as often as at any mirror without one", "regsync server leaves them out")
	}
}

// cron writes a cron expression. Its time zone is that of regsync's machine where none is
// named.
func (r *regsync) cron(m *section, from *value, written string) {
	zone := ""
	if found := cronZone.FindStringSubmatch(written); found != nil {
		zone, written = found[1], found[2]
	}
	written = strings.ReplaceAll(written, "?", "*")
	if zone != "" {
		to := m.section("schedule", from)
		to.text("cron", written, from)
		to.text("timeZone", zone, from)
		return
	}
	m.text("schedule", written, from)
	r.said.once(from, "schedules are in UTC", "regsync's are in the time zone of its machine; schedule: {cron: …, timeZone: …} names one")
}

func (r *regsync) interval(m *section, from *value, written string) {
	duration, err := time.ParseDuration(strings.TrimSpace(written))
	switch {
	case err != nil || duration < 0:
		from.fail(quoted(written)+" is not a duration", "a duration such as 60m")
	case duration == 0:
		from.note(Ignored, "an interval of nothing", "")
	case duration < shortestInterval:
		m.text("schedule", shortestInterval.String(), from).
			note(from, Changed, fmt.Sprintf("every %s, instead of every %s", shortestInterval, written), "registries are not asked more often")
	default:
		m.text("schedule", strings.TrimSpace(written), from)
	}
}
