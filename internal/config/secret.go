package config

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
)

// A Secret is a part of a credential: written out, or as a reference to where it is,
// ${NAME} for an environment variable and file:PATH for a file, whose last line break
// does not count. It never prints what it holds.
type Secret struct {
	reference string // "" where the secret itself is written
	value     auth.Secret
}

// Value returns the secret.
func (s Secret) Value() auth.Secret { return s.value }

// String returns the reference, or that there is something.
func (s Secret) String() string {
	if s.reference != "" {
		return s.reference
	}
	return s.value.String()
}

// Format keeps every verb of package fmt from showing the secret.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// empty reports whether nothing was written.
func (s Secret) empty() bool { return s.reference == "" && s.value == "" }

// redacted is what Show writes for a secret. It is never taken for one.
const redacted = "[redacted]"

var environmentReference = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// secrets resolves references. It reads a file, and looks a variable up, only once all
// files are merged: a reference that another file replaces is never followed.
type secrets struct {
	env      func(string) (string, bool)
	readFile func(string) ([]byte, error)
}

const maxSecret = 64 << 10

func (s *Secret) read(r *reader, n *node, path string) {
	r.places[path] = n.at
	const expected = "a text, ${NAME} or file:PATH"
	variable := environmentReference.FindStringSubmatch(n.value)
	name, isFile := strings.CutPrefix(n.value, "file:")
	switch {
	case n.kind != scalar || n.value == "":
		r.wrongKind(n, path, expected)
	case n.value == redacted:
		r.fail(path, "this is what stands for a secret in a configuration that was shown", expected)
	case variable != nil:
		s.reference = n.value
		s.fromEnvironment(r, variable[1], path)
	case strings.Contains(n.value, "${"):
		r.fail(path, `"${" inside of a secret`, "${NAME} alone, or the secret in a file and file:PATH here")
	case isFile && name == "":
		r.fail(path, "file: names no file", "file:PATH")
	case isFile:
		name = besides(n.at.File, name)
		s.reference = "file:" + name
		s.fromFile(r, name, path)
	default:
		s.value = auth.Secret(n.value)
	}
}

func (s *Secret) fromEnvironment(r *reader, name, path string) {
	if !r.complete() {
		return
	}
	value, ok := r.secrets.env(name)
	switch {
	case !ok:
		r.fail(path, "the environment variable "+name+" is not set", "")
	case value == "":
		r.fail(path, "the environment variable "+name+" is empty", "")
	}
	s.value = auth.Secret(value)
}

func (s *Secret) fromFile(r *reader, name, path string) {
	if !r.complete() {
		return
	}
	data, err := r.secrets.readFile(name)
	value := bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case err != nil:
		r.fail(path, fmt.Sprintf("the file cannot be read: %s", oneLine(err.Error())), "")
	case len(value) == 0:
		r.fail(path, "the file "+quoted(name)+" is empty", "")
	case len(value) > maxSecret:
		r.fail(path, fmt.Sprintf("the file %s is larger than %d bytes", quoted(name), maxSecret), "")
	}
	s.value = auth.Secret(value)
}

func (s Secret) show() *yaml.Node { return text(s.String()) }

// Credentials say who asks a registry. The word none stands for anonymity, whatever the
// environment offers.
type Credentials struct {
	None          bool    // written as the word none instead of the map
	Username      Secret  `yaml:"username" doc:"A user, with a password."`
	Password      Secret  `yaml:"password" doc:"The user's password or access token."`
	Token         Secret  `yaml:"token" doc:"A bearer token that is sent as it is."`
	IdentityToken Secret  `yaml:"identityToken" doc:"An OAuth2 refresh token that is exchanged for access tokens."`
	AuthFile      string  `yaml:"authFile" is:"path" doc:"An auth file as docker and podman write it, credential helpers included."`
	Google        *Google `yaml:"google" doc:"For Artifact Registry and gcr.io."`
	Azure         *Azure  `yaml:"azure" doc:"For Azure's container registries."`
}

// Credential returns what the registry gets; the zero Credential where an auth file or a
// cloud knows, or nobody asks.
func (c Credentials) Credential() auth.Credential {
	return auth.Credential{
		Username: c.Username.Value().Reveal(), Password: c.Password.Value(),
		RegistryToken: c.Token.Value(), IdentityToken: c.IdentityToken.Value(),
	}
}

func (c *Credentials) read(r *reader, n *node, path string) {
	if c.None = r.word(n, "none", path, "none, or a map with username and password, token, identityToken, authFile, google or azure"); !c.None && n.kind != scalar {
		r.structureOf(c, n, path)
	}
}

func (c *Credentials) check(r *reader, path string) {
	given := ofWhich(map[string]bool{
		"username":      !c.Username.empty(),
		"token":         !c.Token.empty(),
		"identityToken": !c.IdentityToken.empty(),
		"authFile":      c.AuthFile != "",
		"google":        c.Google != nil,
		"azure":         c.Azure != nil,
	})
	if c.Username.empty() && !c.Password.empty() {
		given = append(given, "password")
	}
	switch {
	case len(given) == 0:
		r.fail(path, "no credentials", "username and password, token, identityToken, authFile, google, azure, or the word none instead of the map")
	case len(given) > 1:
		r.fail(path, r.among(path, given)+" are given", "one kind of credentials")
	case c.Username.empty() != c.Password.empty():
		r.fail(path, "username and password go together", "both")
	}
}

func (c Credentials) show() *yaml.Node {
	if c.None {
		return text("none")
	}
	return structureNode(c)
}

func (t *TLS) check(r *reader, path string) {
	given := ofWhich(map[string]bool{
		"ca": t.CA != "", "cert": t.Cert != "", "key": t.Key != "", "certDir": t.CertDir != "",
		"minVersion": t.MinVersion != "", "insecure": t.Insecure, "plainHTTP": t.PlainHTTP,
	})
	switch {
	case t.PlainHTTP && len(given) > 1:
		r.fail(path, r.among(path, given)+" are given, and plain HTTP has no certificates", "plainHTTP alone")
	case t.Insecure && t.CA != "":
		r.fail(path, r.among(path, []string{"ca", "insecure"})+" contradict each other", "one of them")
	case (t.Cert == "") != (t.Key == ""):
		r.fail(path, "cert and key go together", "both")
	}
}
