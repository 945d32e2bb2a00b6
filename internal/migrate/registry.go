package migrate

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A registry is what was said of a host so far.
type registry struct {
	name               string // the host
	section            *section
	username, password string
}

// registry returns the section of a registry host, by any of the host's names.
func (d *draft) registry(host string, from *value) *section {
	return d.host(host, from).section
}

func (d *draft) host(host string, from *value) *registry {
	host = canonicalHost(host)
	if known, ok := d.hosts[host]; ok {
		return known
	}
	r := &registry{name: host, section: &section{draft: d, node: newMap(), path: "registries[" + host + "]"}}
	d.hosts[host] = r
	if !isHost(host) {
		d.fail(from, quoted(host)+" is not a registry host", "a host as references write it, such as docker.io or quay.io:443")
		return r
	}
	r.section.above = d.registries.set(host, r.section.node, from).key
	d.places[r.section.path] = from
	return r
}

// isHost reports whether references of destinations take a text for a host.
func isHost(s string) bool {
	host, err := ref.ParsePlace(s)
	return err == nil && host == s
}

// canonicalHost returns a host as references write it, docker.io for index.docker.io. What
// is no host stays as it is.
func canonicalHost(host string) string {
	place, err := ref.ParsePlace(host)
	if err != nil {
		return host
	}
	return place
}

// credentials sets the credentials of a registry host: references to environment
// variables, whose values are kept apart. Both parts must be there. What differs from
// the credentials that the host has already is noted as lost.
func (d *draft) credentials(host, username, password string, from *value) {
	r := d.host(host, from)
	if !r.claim(username, password, from) {
		return
	}
	stem := variable(canonicalHost(host))
	to := r.section.section("credentials", from)
	to.text("username", "${"+d.secret(stem+"_USERNAME", username)+"}", from)
	to.text("password", "${"+d.secret(stem+"_PASSWORD", password)+"}", from)
	to.comment("Set these two in the environment: the values stand in the file that was imported.")
}

// claim reports whether the credentials are the first that a host is given. Others than
// those that it has are noted as lost.
func (r *registry) claim(username, password string, from *value) bool {
	switch {
	case r.username == username && r.password == password:
		return false
	case r.username != "":
		r.section.note(from, Lost, "these credentials for "+quoted(r.name), "a registry has one set of credentials here: the first that is given")
		return false
	}
	r.username, r.password = username, password
	return true
}

// references sets credentials that are references already, to the environment or to
// files.
func (d *draft) references(host, username, password string, from *value) {
	r := d.host(host, from)
	if !r.claim(username, password, from) {
		return
	}
	to := r.section.section("credentials", from)
	to.text("username", username, from)
	to.text("password", password, from)
}

// anonymous says that nobody asks a registry host.
func (d *draft) anonymous(host string, from *value) {
	if r := d.host(host, from); r.claim(anonymity, "", from) {
		r.section.text("credentials", "none", from)
	}
}

// anonymity stands for the credentials none; no user has that name.
const anonymity = "\x00none"

// secret keeps a secret and returns the environment variable that stands for it. A name
// that stands for another secret gets a number.
func (d *draft) secret(wish, secret string) string {
	if name, ok := d.variables[[2]string{wish, secret}]; ok {
		return name
	}
	name := wish
	for taken := true; taken; _, taken = d.secrets[name] {
		if d.numbered[wish]++; d.numbered[wish] > 1 {
			name = wish + "_" + strconv.Itoa(d.numbered[wish])
		}
	}
	d.variables[[2]string{wish, secret}], d.secrets[name] = name, auth.Secret(secret)
	return name
}

var notInVariables = regexp.MustCompile(`[^A-Z0-9]+`)

// variable makes the stem of an environment variable's name of a host: DOCKER_IO of
// docker.io.
func variable(host string) string {
	name := strings.Trim(notInVariables.ReplaceAllString(strings.ToUpper(host), "_"), "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "REGISTRY_" + name
	}
	return name
}
