package migrate

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// importSkopeoSync reads what skopeo sync takes with --src yaml: registries with their
// images, and which tags or digests of these. Where to is an argument of its command
// line.
func importSkopeoSync(d *draft, files []*value) {
	s := skopeoSync{draft: d, destination: strings.Trim(d.destination, "/"), written: make(map[string]ref.Repository)}
	if _, err := ref.ParseRepository(s.destination + "/name"); err != nil {
		problem := quoted(d.destination) + " is not a destination"
		if s.destination == "" {
			problem = "the destination is missing, which skopeo sync is told on its command line"
		}
		files[0].fail(problem, "--destination REGISTRY[/PREFIX]")
		return
	}
	d.note(files[0], Changed, "images of several platforms are mirrored whole, as upstream has them",
		"skopeo sync does so with --all; without it, it copies the image for its own platform: set defaults.platform, such as linux/amd64")
	for _, file := range files {
		for _, registry := range file.entries() {
			s.registry(registry)
		}
	}
}

// skopeoSync is one import of its files.
type skopeoSync struct {
	*draft
	destination string
	written     map[string]ref.Repository // which upstream is mirrored to which repository
}

// A skopeoImage is what one of the three keys that name images says of one.
type skopeoImage struct {
	*value
	under string
}

const (
	byReference = "images"
	byRegexp    = "images-by-tag-regex"
	bySemver    = "images-by-semver"
)

func (s *skopeoSync) registry(registry *value) {
	var names []string
	said := make(map[string][]skopeoImage)
	for _, key := range []string{byReference, byRegexp, bySemver} {
		for _, image := range registry.get(key).entries() {
			if said[image.name] == nil {
				names = append(names, image.name)
			}
			said[image.name] = append(said[image.name], skopeoImage{image, key})
		}
	}
	if len(names) == 0 && (!registry.has() || registry.isMap()) {
		registry.note(Ignored, "a registry without images", "")
	}
	s.access(registry)
	for _, name := range names {
		s.image(registry.name+"/"+name, said[name])
	}
}

// access reads how the registry is spoken to. Its name may have a path behind the host.
func (s *skopeoSync) access(registry *value) {
	host, _, _ := strings.Cut(registry.name, "/")
	credentials := registry.get("credentials")
	user, password, token := credentials.get("username"), credentials.get("password"), credentials.get("identitytoken")
	switch {
	case token.text() != "":
		user.skip()
		password.skip()
		s.identityToken(host, token)
	case user.text() != "" || password.text() != "":
		s.credentials(host, user.text(), password.text(), credentials)
	}
	verify, certDir := registry.get("tls-verify"), registry.get("cert-dir")
	var tls *section
	secured := func() *section {
		if tls == nil {
			tls = s.draft.registry(host, registry).section("tls", registry)
		}
		return tls
	}
	if certDir.text() != "" {
		secured().text("certDir", certDir.text(), certDir)
	}
	if !verify.flag(true) {
		skopeoUnverified(host, verify, secured)
	}
}

// byToken stands for an identity token where a user is asked for; no user has that name.
const byToken = "\x00token"

// identityToken sets an OAuth2 token, which wins over a password.
func (s *skopeoSync) identityToken(host string, token *value) {
	r := s.host(host, token)
	if r.claim(byToken, token.text(), token) {
		name := s.secret(variable(canonicalHost(host))+"_IDENTITY_TOKEN", token.text())
		to := r.section.section("credentials", token)
		to.text("identityToken", "${"+name+"}", token)
		to.comment("Set this in the environment: the value stands in the file that was imported.")
	}
}

// image writes the mirror of one repository, of which there is something under each of
// some keys.
func (s *skopeoSync) image(name string, said []skopeoImage) {
	from := said[0].value
	upstream, err := ref.ParseRepository(name)
	if err != nil {
		from.fail(quoted(name)+" is not a repository", "a registry, and the path of a repository below it")
		for _, image := range said {
			image.skip()
		}
		return
	}
	m := s.mirror(upstream.String(), from)
	m.text("from", upstream.String(), from)
	target := path.Join(s.destination, s.below(upstream))
	to := m.text("to", target, from)
	if other, taken := s.written[target]; taken {
		to.note(from, Changed, "a tag that "+other.String()+" has too is an error of the run", "skopeo overwrites one with the other; --scoped keeps them apart")
	}
	s.written[target] = upstream
	t := s.tags(said)
	if t.all {
		m.text("tags", "*", from).comment("An image without tags stands for all of them.")
		return
	}
	if len(t.regex)+len(t.semver) == 0 && areTags(t.named) {
		writeTerms(m, "tags", slices.Concat(t.named, t.pinned), from)
		return
	}
	t.write(m.section("tags", from), from)
}

// below returns the path that a repository gets below the destination: its last part,
// and with --scoped the whole of it, with its host.
func (s *skopeoSync) below(upstream ref.Repository) string {
	if s.scoped {
		return upstream.String()
	}
	return path.Base(upstream.Path)
}

// skopeoTags are the tags that are meant, by all keys together.
type skopeoTags struct {
	all                          bool
	named, pinned, regex, semver []term
}

func (s *skopeoSync) tags(said []skopeoImage) skopeoTags {
	var t skopeoTags
	for _, image := range said {
		switch image.under {
		case byRegexp:
			t.addExpression(image.value)
		case bySemver:
			t.addRange(image.value)
		default:
			t.addReferences(image.value)
		}
	}
	return t
}

// addExpression reads an expression, which matches a part of a tag there, and has to
// match the whole of it here.
func (t *skopeoTags) addExpression(image *value) {
	written := image.text()
	if _, err := regexp.Compile(written); err != nil {
		image.fail(quoted(written)+" is not an expression", "an RE2 expression")
		return
	}
	whole := term{text: anywhere(written), from: image}
	if strings.HasPrefix(whole.text, ".*") {
		whole.say = func(l *line) { l.comment("skopeo: " + written + ", anywhere in a tag") }
	}
	t.regex = append(t.regex, whole)
}

// prereleaseBound finds a range that has room for pre-releases.
var prereleaseBound = regexp.MustCompile(`[0-9xX*]-[0-9A-Za-z]`)

// addRange reads a range, in the syntax of the library that reads ranges here too.
func (t *skopeoTags) addRange(image *value) {
	written := term{text: image.text(), from: image}
	if prereleaseBound.MatchString(written.text) {
		written.say = func(l *line) {
			l.note(image, Changed, "a tag with a suffix is a version only where it has three numbers", "skopeo takes 1.27-alpine for a pre-release of 1.27.0")
		}
	}
	t.semver = append(t.semver, written)
}

// addReferences reads a list of tags and digests. An empty one stands for all tags.
func (t *skopeoTags) addReferences(image *value) {
	items := image.items()
	t.all = t.all || len(items) == 0
	for _, item := range items {
		text := item.text()
		digest, err := ref.ParseDigest(text)
		if err != nil {
			t.named = append(t.named, term{text: text, from: item})
			continue
		}
		t.pinned = append(t.pinned, term{text: "digest-" + digest.Encoded() + "@" + text, from: item, say: func(l *line) {
			l.note(item, Changed, "a digest gets a name at the destination", "skopeo gives it none; it can be pulled by the digest as before")
		}})
	}
}

func (t *skopeoTags) write(to *section, from *value) {
	writeTerms(to, "literals", t.named, from)
	writeTerms(to, "digests", t.pinned, from)
	writeTerms(to, "regex", t.regex, from)
	writeTerms(to, "semver", t.semver, from)
	if len(t.semver) > 0 {
		to.flag("strict", true, from).
			comment("As skopeo reads versions: 1.31.0-musl is a pre-release, and 1.31 is 1.31.0.")
		to.flag("floating", true, from)
	}
}
