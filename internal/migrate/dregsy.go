package migrate

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// importDregsy reads the files of xelalexv/dregsy, of all its versions: tasks between two
// registries, each with mappings from a repository, or from those that an expression
// matches, to another.
func importDregsy(d *draft, files []*value) {
	r := dregsy{draft: d, tls: make(map[string]*section)}
	for _, file := range files {
		r.file(file)
	}
}

// dregsy is one import of its files.
type dregsy struct {
	*draft
	tls map[string]*section // by registry host

	// Of the file that is being read:
	relay    string
	certsDir string  // "" where none is named
	lister   *value  // what is said of all listers
	cache    string  // for how long lists are used again, "" for an hour
	lists    bool    // whether a mapping lists a registry
	said     remarks // what concerns the file as a whole
}

const (
	dockerRelay = "docker"
	skopeoRelay = "skopeo"
)

func (r *dregsy) file(file *value) {
	r.said, r.lists = make(remarks), false
	r.relays(file)
	r.lister = file.get("lister")
	r.cache = r.readCache()
	watch := file.get("watch")
	if watch.flag(false) {
		watch.note(Ignored, "whether a daemon reads the file again when it changes is no part of the file", "")
	}
	tasks := file.get("tasks")
	if !tasks.has() {
		tasks.fail("tasks is missing", "a list of tasks")
	}
	for _, task := range tasks.items() {
		r.task(task)
	}
	if r.lister.has() && !r.lists {
		r.lister.get("maxItems").skip()
		r.lister.note(Ignored, "no mapping lists a registry", "")
	}
}

// relays reads what copies the images there.
func (r *dregsy) relays(file *value) {
	relay := file.get("relay")
	r.relay = cmp.Or(relay.text(), dockerRelay)
	if r.relay != dockerRelay && r.relay != skopeoRelay {
		relay.fail(quoted(r.relay)+" is not a relay", "skopeo or docker")
	}
	const why = "images go from registry to registry, through nothing that is installed here"
	for _, v := range []*value{relay, file.path("skopeo", "binary"), file.path("docker", "dockerhost"), file.path("docker", "api-version"), file.get("dockerhost"), file.get("api-version")} {
		if v.text() != "" {
			v.note(Ignored, "there is no relay", why)
		}
	}
	r.certsDir = file.path("skopeo", "certs-dir").text()
	if r.relay == skopeoRelay && r.certsDir == "" {
		r.note(file, Changed, "certificates below /etc/skopeo/certs.d are not looked for",
			"where there are any for a registry, set its tls.certDir")
	}
}

// minDregsyInterval is the fewest seconds from one run of a task to the next.
const minDregsyInterval = 30

func (r *dregsy) task(task *value) {
	if !task.isMap() {
		task.fail("this is no task", "a map with name, source, target and mappings")
		task.skip()
		return
	}
	name := task.get("name")
	if name.text() == "" && !name.isMap() && !name.isList() {
		name.fail("a task without a name", "name")
	}
	interval := task.get("interval")
	if seconds := interval.number(0); seconds < 0 || seconds > 0 && seconds < minDregsyInterval {
		interval.fail(quoted(interval.text())+" is not an interval of dregsy", "seconds, 30 or more, or 0 for once")
	}
	if verbose := task.get("verbose"); verbose.flag(false) {
		verbose.note(Ignored, "what went wrong is always said", "--debug says more")
	}
	source, target := r.location(task.get("source"), false), r.location(task.get("target"), true)
	mappings := task.get("mappings")
	if len(mappings.items()) == 0 {
		mappings.note(Ignored, "a task without mappings", "")
	}
	for _, mapping := range mappings.items() {
		r.mapping(mapping, dregsyTask{value: task, name: name.text(), interval: interval, source: source, target: target})
	}
	if lister := task.path("source", "lister"); lister.has() && !source.listed {
		lister.note(Ignored, "no mapping of the task lists the registry", "")
	}
}

// A dregsyTask is what the mappings of a task have in common.
type dregsyTask struct {
	value          *value
	name           string
	interval       *value
	source, target *dregsyLocation
}

// A dregsyLocation is a registry as a task speaks to it.
type dregsyLocation struct {
	value  *value
	host   string // "" where there is a problem
	user   string
	lister string
	search string
	listed bool // whether a mapping lists it
}

// publicTarget is how targets in ECR Public are written: ACCOUNT:REGION@public.ecr.aws.
var publicTarget = regexp.MustCompile(`^([0-9]{12}):([a-z0-9-]+)@(public\.ecr\.aws)$`)

// ecrRegistry is a host that dregsy takes for ECR.
var ecrRegistry = regexp.MustCompile(`^([0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?|public\.ecr\.aws)$`)

func (r *dregsy) location(v *value, isTarget bool) *dregsyLocation {
	l := &dregsyLocation{value: v}
	registry := v.get("registry")
	l.host = registry.text()
	if l.host == "" {
		if !v.has() || v.isMap() {
			registry.fail("a registry is missing", "registry, with the host")
		}
		v.skip()
		return l
	}
	if found := publicTarget.FindStringSubmatch(l.host); found != nil {
		l.host = found[3]
		registry.note(Changed, "the account and Region of ECR Public are not part of its name", "they are those of the AWS credentials of the run")
	}
	if hubHosts[l.host] {
		l.host = "docker.io"
	}
	r.credentialsOf(l)
	r.security(l)
	r.listerOf(l, isTarget)
	return l
}

// hubHosts are names of Docker Hub that references do not know as such.
var hubHosts = map[string]bool{"registry.hub.docker.com": true, "registry-1.docker.io": true, "index.docker.io": true, "hub.docker.com": true}

// credentialsOf reads auth and auth-refresh.
func (r *dregsy) credentialsOf(l *dregsyLocation) {
	auth, refresh := l.value.get("auth"), l.value.get("auth-refresh")
	isECR := ecrRegistry.MatchString(l.host)
	if refresh.text() != "" && !isECR {
		refresh.fail(quoted(l.host)+" is no ECR registry, whose credentials could be fetched anew", "auth")
	} else if refresh.text() != "" {
		refresh.note(Ignored, "credentials for ECR are fetched whenever they are needed", "")
	}
	switch text := strings.TrimSpace(auth.text()); {
	case text == "":
	case text == "none":
		r.anonymous(l.host, auth)
	case variableAlone.MatchString(text):
		name := variableAlone.FindStringSubmatch(text)[1]
		r.references(l.host, "${"+name+"_USERNAME}", "${"+name+"_PASSWORD}", auth)
		auth.note(Changed, name+"_USERNAME and "+name+"_PASSWORD take the place of "+name, "user and password stand apart here, and not in JSON")
	default:
		r.decode(l, auth, text, isECR)
	}
}

// variableAlone is what stands for a secret until envsubst has seen the file.
var variableAlone = regexp.MustCompile(`^\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?$`)

// decode reads base64 of JSON or of user:password.
func (r *dregsy) decode(l *dregsyLocation, auth *value, text string, isECR bool) {
	const expected = `base64 of {"username": "…", "password": "…"}, or none`
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		auth.fail("this is not base64", expected)
		return
	}
	var decoded struct{ Username, Password string }
	if err := json.Unmarshal(data, &decoded); err != nil {
		decoded.Username, decoded.Password, _ = strings.Cut(strings.TrimRight(string(data), "\r\n"), ":")
		if decoded.Password != "" {
			auth.note(Changed, "user and password are used", "dregsy understands user:password, and its relays do not, which makes it anonymous")
		}
	}
	l.user = decoded.Username
	switch {
	case decoded.Username == "" || decoded.Password == "":
		auth.fail("there is no user with a password in it", expected)
	case isECR && decoded.Username == "AWS":
		auth.note(Changed, "the token for ECR is left out", "it is good for twelve hours; the AWS credentials of the run fetch one whenever it is needed")
	default:
		r.credentials(l.host, decoded.Username, decoded.Password, auth)
	}
}

// security reads skip-tls-verify, and names the directory of certificates.
func (r *dregsy) security(l *dregsyLocation) {
	insecure := l.value.get("skip-tls-verify")
	_, known := r.tls[l.host]
	if r.certsDir != "" && !known && l.host != "docker.io" && !ecrRegistry.MatchString(l.host) {
		host, _, _ := strings.Cut(l.host, ":")
		from := l.value.get("registry")
		r.tlsOf(l).text("certDir", path.Join(r.certsDir, host), from).
			note(from, Changed, "the directory has to exist", "dregsy takes one that is missing for an empty one")
	}
	switch on := insecure.flag(false); {
	case on && r.relay == dockerRelay:
		insecure.note(Ignored, "the docker relay does not look at it", "if the registry's certificate is not to be verified, set its tls.insecure, and tls.plainHTTP where it has none")
	case on && (r.tls[l.host] == nil || !r.tls[l.host].has("insecure")):
		skopeoUnverified(l.host, insecure, func() *section { return r.tlsOf(l) })
	}
}

func (r *dregsy) tlsOf(l *dregsyLocation) *section {
	if r.tls[l.host] == nil {
		r.tls[l.host] = r.registry(l.host, l.value.get("registry")).section("tls", l.value.get("registry"))
	}
	return r.tls[l.host]
}

func (r *dregsy) listerOf(l *dregsyLocation, isTarget bool) {
	lister := l.value.get("lister")
	kind := lister.get("type")
	l.lister, l.search = kind.text(), lister.get("search").text()
	switch {
	case !lister.has():
	case isTarget:
		lister.note(Ignored, "only the source is listed", "")
	case l.lister == "":
		lister.fail("a lister without a type", "type: catalog, dockerhub or index")
	case l.lister != "catalog" && l.lister != "dockerhub" && l.lister != "index":
		kind.fail(quoted(l.lister)+" is not a lister", "catalog, dockerhub or index")
	case l.lister == "index" && l.search == "":
		lister.fail("the lister index has nothing to search for", "search")
	case l.lister != "index" && l.search != "":
		lister.get("search").note(Ignored, "only the lister index searches", "")
	}
}

func (r *dregsy) mapping(mapping *value, task dregsyTask) {
	from := mapping.get("from")
	written := from.text()
	if written == "" {
		if !mapping.has() || mapping.isMap() {
			from.fail("a mapping without from", "a path, or regex: and an expression")
		}
		mapping.skip()
		return
	}
	if task.source.host == "" || task.target.host == "" {
		mapping.skip() // the problem is reported already
		return
	}
	expression, lists := strings.CutPrefix(written, "regex:")
	wish := task.name
	if !lists {
		wish += "/" + path.Base(written)
	}
	m := r.mirror(wish, mapping)
	if lists {
		r.fromListed(m, task.source, from, expression)
		r.toListed(m, task.target, mapping)
	} else {
		upstream := strings.TrimPrefix(written, "/")
		m.text("from", task.source.host+"/"+upstream, from)
		r.to(m, task.target, mapping, upstream)
	}
	r.tags(m, mapping.get("tags"), mapping)
	r.platform(m, mapping)
	r.schedule(m, task)
}

// fromListed writes an upstream that is listed.
func (r *dregsy) fromListed(m *section, source *dregsyLocation, from *value, expression string) {
	source.listed, r.lists = true, true
	to := m.section("from", from)
	to.text("registry", source.host, source.value.get("registry"))
	if strings.TrimSpace(expression) != expression {
		to.note(from, Changed, "spaces round the expression do not count", "dregsy has them match, and no repository has one")
	}
	expression = strings.TrimSpace(expression)
	noteAlternatives(to.text("repositories", "regex: "+expression, from), from, expression, "dregsy")
	lister := source.value.get("lister")
	switch {
	case source.lister == "dockerhub":
		to.text("lister", "docker-hub", lister)
		to.text("namespace", source.user, cmp.Or(present(source.value.get("auth")), lister)).
			comment("dregsy lists what its user has.")
		r.maxItems(to, false)
	case source.lister == "index" && source.host == "docker.io":
		to.text("lister", "docker-hub-search", lister)
		to.text("search", source.search, lister)
		r.maxItems(to, true)
	case source.lister == "index":
		to.text("lister", "catalog", lister).
			note(lister, Changed, "the registry is asked for its catalog", "only Docker Hub is searched here")
		r.maxItems(to, false)
	default:
		r.maxItems(to, false)
	}
	if r.cache != "" {
		to.text("cacheDuration", r.cache, r.lister.get("cacheDuration"))
	}
}

// present returns the value, nil where there is nothing.
func present(v *value) *value {
	if v.has() {
		return v
	}
	return nil
}

// maxItems writes lister.maxItems where it means what it does there: how many results of
// a search are looked at. Of any other list dregsy reads so many and drops the rest.
func (r *dregsy) maxItems(to *section, search bool) {
	const (
		fallback = 100
		what     = "every repository of the list is looked at, and more than maxItems that match are an error"
		why      = "dregsy stops reading after about lister.maxItems repositories, 100 by default, and says nothing of the others"
	)
	items := r.lister.get("maxItems")
	n := items.number(0)
	switch {
	case n < 0:
		to.number("maxItems", 0, items)
	case search:
		if n == 0 {
			n = fallback
		}
		to.number("maxItems", n, cmp.Or(present(items), r.lister))
	default:
		r.said.once(cmp.Or(present(items), r.lister), what, why)
	}
}

// readCache returns for how long lists are used again: "" where nothing is said.
func (r *dregsy) readCache() string {
	v := r.lister.get("cacheDuration")
	written := v.text()
	if nanoseconds, err := strconv.ParseInt(written, 10, 64); err == nil {
		switch {
		case nanoseconds > 0:
			r.note(v, Changed, "lists of repositories are not used again",
				quoted(written)+" has no unit, and so dregsy reads it as nanoseconds; "+strconv.Quote(written+"s")+" may be meant")
			return "0s"
		case nanoseconds < 0:
			return "0s"
		}
		return ""
	}
	duration, err := time.ParseDuration(written)
	switch {
	case written == "" || err == nil && duration == 0:
		return ""
	case err != nil:
		v.fail(quoted(written)+" is not a duration", "a duration such as 30m, or -1 for none")
		return ""
	case duration < 0:
		return "0s"
	}
	return written
}

// to writes the destination of one repository.
func (r *dregsy) to(m *section, target *dregsyLocation, mapping *value, upstream string) {
	to := mapping.get("to")
	written := to.text()
	from := cmp.Or(present(to), mapping)
	mapped := upstream
	if expression, isRegexp := strings.CutPrefix(written, "regex:"); isRegexp {
		mapped = r.replaced(to, expression, upstream)
	} else if written != "" {
		mapped = written
	}
	m.text("to", target.host+"/"+strings.TrimPrefix(mapped, "/"), from)
}

// replaced returns what an expression makes of a path.
func (r *dregsy) replaced(to *value, written, upstream string) string {
	w, ok := dregsyRewrite(to, written)
	if !ok {
		return upstream
	}
	compiled, err := regexp.Compile(w.expression)
	if err != nil {
		to.fail(quoted(w.expression)+" is not an expression", "an RE2 expression, a comma, and what takes the place of what it matches")
		return upstream
	}
	return compiled.ReplaceAllString("/"+upstream, w.replacement)
}

// toListed writes the destinations of repositories that are listed.
func (r *dregsy) toListed(m *section, target *dregsyLocation, mapping *value) {
	to := mapping.get("to")
	written := to.text()
	from := cmp.Or(present(to), mapping)
	destination := m.section("to", from)
	destination.text("registry", target.host, target.value.get("registry"))
	expression, isRegexp := strings.CutPrefix(written, "regex:")
	prefix := strings.Trim(written, "/")
	switch {
	case isRegexp:
		r.rewrite(destination, to, expression)
	case prefix == "":
	case strings.HasSuffix(written, "/"):
		destination.text("prefix", prefix, to).
			note(to, Changed, "the slash at the end does not count", "dregsy makes an empty part of the path of it")
	default:
		destination.text("prefix", prefix, to)
	}
}

// rewrite writes an expression for paths. dregsy's have a leading slash.
func (r *dregsy) rewrite(destination *section, to *value, written string) {
	w, ok := dregsyRewrite(to, written)
	if !ok {
		return
	}
	if w.neverMatches() {
		destination.note(to, Changed, "paths stay as they are, which is what dregsy does",
			quoted(w.expression)+" never matches there, since a path begins with a slash; written under regex, it would match here")
		return
	}
	translated, same := w.withoutSlash()
	line := destination.text("regex", translated.expression, to)
	destination.text("replacement", translated.replacement, to)
	switch {
	case !same:
		line.note(to, Changed, "the expression sees the path without a leading slash", "dregsy's sees it with one: look at what becomes of the paths")
	case translated != w:
		line.comment("dregsy: " + w.expression + "," + w.replacement + ", on paths with a leading slash")
	}
}

// dregsyRewrite splits "EXPRESSION,REPLACEMENT".
func dregsyRewrite(to *value, written string) (rewrite, bool) {
	expression, replacement, found := strings.Cut(written, ",")
	if !found {
		to.fail("the replacement is missing", "regex:EXPRESSION,REPLACEMENT")
	}
	return rewrite{expression, replacement}, found
}

// platform writes which platform is copied.
func (r *dregsy) platform(m *section, mapping *value) {
	platform := mapping.get("platform")
	switch text := platform.text(); {
	case text == "":
		r.said.once(mapping, "images of several platforms are mirrored whole, as upstream has them",
			"without platform, dregsy copies the image for the machine that it runs on; to do so, set defaults.platform, such as linux/amd64")
	case text == "all" && r.relay == dockerRelay:
		platform.fail("the docker relay cannot copy all platforms", "relay: skopeo")
	case text == "all":
		m.text("platforms", "all", platform)
	case !strings.Contains(text, "/"):
		m.text("platforms", "all", platform).
			note(platform, Changed, "all platforms are mirrored", "dregsy takes the architecture of its own machine; write it out under platform: "+text+"/amd64")
	default:
		m.text("platform", text, platform)
	}
}

// schedule writes when the daemon looks at the mirror.
func (r *dregsy) schedule(m *section, task dregsyTask) {
	if seconds := task.interval.number(0); seconds >= minDregsyInterval {
		m.text("schedule", strconv.Itoa(seconds)+"s", task.interval)
		return
	}
	r.said.once(task.value, "a daemon looks at tasks without an interval as often as at any mirror without a schedule",
		"dregsy runs them once, when it starts, as sync does")
}
