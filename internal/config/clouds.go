package config

import "go.yaml.in/yaml/v3"

// machineIdentity is the word that stands for whoever the machine is to a cloud.
const machineIdentity = "default"

// Google says who asks one of Google's registries. The word default stands for the
// machine's application default credentials.
type Google struct {
	Default     bool   // written as the word default instead of the map
	Key         Secret `yaml:"key" doc:"A service account's key or another credential configuration (workload identity federation): its JSON, or that in base64. It is exchanged for access tokens, and no registry sees it."`
	AccessToken Secret `yaml:"accessToken" doc:"An access token, as gcloud auth print-access-token prints it. It is good for an hour and not renewed."`
}

func (g *Google) read(r *reader, n *node, path string) {
	if g.Default = r.word(n, machineIdentity, path, "default, or a map with key or accessToken"); !g.Default && n.kind != scalar {
		r.structureOf(g, n, path)
	}
}

func (g *Google) check(r *reader, path string) {
	if g.Key.empty() == g.AccessToken.empty() {
		r.fail(path, "it takes one of key and accessToken", "key, accessToken, or the word default instead of the map")
	}
}

func (g Google) show() *yaml.Node {
	if g.Default {
		return text(machineIdentity)
	}
	return structureNode(g)
}

func (*Google) schema(g *generator) schema { return wordOr[Google](g, machineIdentity) }

// Azure says who asks one of Azure's registries. The word default stands for the machine's
// identity.
type Azure struct {
	Default      bool   // written as the word default instead of the map
	Tenant       string `yaml:"tenant" is:"text" doc:"The tenant of the principal: its ID or a domain."`
	ClientID     string `yaml:"clientId" aka:"clientID,client-id" is:"text" doc:"The application's ID. Without a secret it is that of a managed or workload identity of the machine."`
	ClientSecret Secret `yaml:"clientSecret" aka:"client-secret" doc:"The application's secret."`
}

func (a *Azure) read(r *reader, n *node, path string) {
	if a.Default = r.word(n, machineIdentity, path, "default, or a map with clientId, and for a principal tenant and clientSecret"); !a.Default && n.kind != scalar {
		r.structureOf(a, n, path)
	}
}

func (a *Azure) check(r *reader, path string) {
	switch {
	case a.ClientID == "":
		r.fail(path, "no clientId", "clientId, or the word default instead of the map")
	case !a.ClientSecret.empty() && a.Tenant == "":
		r.fail(path, "a principal's secret is for one tenant", "tenant")
	}
}

func (a Azure) show() *yaml.Node {
	if a.Default {
		return text(machineIdentity)
	}
	return structureNode(a)
}

func (*Azure) schema(g *generator) schema { return wordOr[Azure](g, machineIdentity) }

// word reads a value that may be one word instead of a map, and reports whether it is.
func (r *reader) word(n *node, word, path, expected string) bool {
	if n.kind != scalar {
		return false
	}
	r.places[path] = n.at
	if n.value != word {
		r.wrongKind(n, path, expected)
	}
	return n.value == word
}
