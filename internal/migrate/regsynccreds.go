package migrate

import (
	"bytes"
	"cmp"
	"path"
	"regexp"
	"strings"
	"text/template"
	"text/template/parse"
)

// registryOf reads how a registry is spoken to.
func (r *regsync) registryOf(v *value) {
	registry := v.get("registry")
	name, ok := r.expand(registry, nil)
	if !registry.given("a registry host") || !ok {
		v.skip()
		return
	}
	scheme, host, found := strings.Cut(name, "://")
	if !found {
		host = name
	}
	host, _, _ = strings.Cut(host, "/")
	host = canonicalHost(host)
	if _, twice := r.prefixes[host]; twice {
		registry.fail("a second entry for "+quoted(host), "one for each registry")
	}
	r.prefixes[host] = strings.Trim(v.get("pathPrefix").text(), "/")
	if hostname := v.get("hostname"); hostname.text() != "" && canonicalHost(hostname.text()) != host && !hubHosts[hostname.text()] {
		hostname.fail(quoted(host)+" stands for another host", "that host in registry, source and target")
	}
	r.credentialsOf(v, host)
	r.security(v, host, found && scheme == "http")
	r.limits(v, host)
}

// credentialsOf reads who asks.
func (r *regsync) credentialsOf(v *value, host string) {
	user, pass, token, helper := v.get("user"), v.get("pass"), v.get("token"), v.get("credHelper")
	stem := variable(host)
	switch {
	case helper.text() != "":
		r.helper(v, helper, host)
		user.skip()
		pass.skip()
		token.skip()
	case token.text() != "":
		user.skip()
		pass.skip()
		if text, ok := r.secretText(token, stem+"_IDENTITY_TOKEN"); ok {
			r.registry(host, token).section("credentials", token).text("identityToken", text, token)
		}
	case user.text() != "" || pass.text() != "":
		username, ok := r.secretText(user, stem+"_USERNAME")
		password, alsoOK := r.secretText(pass, stem+"_PASSWORD")
		if ok && alsoOK {
			r.references(host, username, password, cmpFirst(pass, user, v))
		}
	}
	for _, key := range []string{"credExpire", "credHost"} {
		r.unused(v.get(key), "")
	}
	if v.get("repoAuth").flag(false) {
		v.get("repoAuth").note(Ignored, "this has no meaning here", "tokens are asked for by repository in any case")
	}
}

// helper notes what becomes of a credential helper.
func (r *regsync) helper(v, helper *value, host string) {
	name := strings.TrimPrefix(path.Base(helper.text()), "docker-credential-")
	if name == "ecr-login" {
		helper.note(Ignored, "no helper is run for "+host, "the AWS credentials of the run fetch tokens for ECR")
		return
	}
	r.registry(host, v).note(helper, Lost, "the helper "+quoted(name)+" is not run for "+host,
		`credentials: {authFile: FILE} names a file of docker's that does: {"credHelpers": {"`+host+`": "`+oneLine(name)+`"}}`)
}

var (
	fromEnvironment = regexp.MustCompile("^\\{\\{-?\\s*env\\s+[\"`]([A-Za-z_][A-Za-z0-9_]*)[\"`]\\s*-?\\}\\}$")
	fromFile        = regexp.MustCompile("^\\{\\{-?\\s*file\\s+[\"`]([^\"`]+)[\"`]\\s*-?\\}\\}$")
)

// secretText returns the reference that stands for a part of a credential: to the
// environment or to a file as the old file has it, or else to a variable of its own.
func (r *regsync) secretText(v *value, name string) (string, bool) {
	text := strings.TrimSpace(v.text())
	switch {
	case text == "":
		v.fail("user and pass go together", "both")
		return "", false
	case !strings.Contains(text, "{{"):
		return "${" + r.secret(name, v.text()) + "}", true
	}
	if found := fromEnvironment.FindStringSubmatch(text); found != nil {
		return "${" + found[1] + "}", true
	}
	if found := fromFile.FindStringSubmatch(text); found != nil {
		return "file:" + found[1], true
	}
	v.fail("only regsync can expand this template", `{{env "NAME"}} or {{file "PATH"}} alone`)
	return "", false
}

// security reads how connections are secured.
func (r *regsync) security(v *value, host string, plain bool) {
	mode, scheme := v.get("tls"), v.get("scheme")
	ca, cert, key := v.get("regcert"), v.get("clientCert"), v.get("clientKey")
	insecure := strings.EqualFold(mode.text(), "insecure")
	plain = plain || strings.EqualFold(mode.text(), "disabled") || scheme.text() == "http"
	switch strings.ToLower(mode.text()) {
	case "", "enabled", "insecure", "disabled":
	default:
		mode.fail(quoted(mode.text())+" is not a kind of TLS", "enabled, insecure or disabled")
	}
	switch {
	case plain:
		r.registry(host, v).section("tls", cmpFirst(mode, scheme, v)).flag("plainHTTP", true, cmpFirst(mode, scheme, v))
		r.unused(ca, "there is no TLS")
		r.unused(cert, "there is no TLS")
		r.unused(key, "there is no TLS")
		return
	case !insecure && !ca.has() && !cert.has() && !key.has():
		return
	}
	tls := r.registry(host, v).section("tls", cmpFirst(mode, ca, cert, v))
	if insecure {
		tls.flag("insecure", true, mode)
		r.unused(ca, "the certificate is not verified")
	} else if ca.has() {
		r.authority(tls, ca, host)
	}
	if cert.has() || key.has() {
		from := cmpFirst(cert, key)
		cert.skip()
		key.skip()
		tls.text("certDir", "certs/"+fileName(host), from).
			note(from, Changed, "the client certificate and its key are files in a directory", "save them there as client.cert and client.key")
	}
}

// authority writes which authority is trusted.
func (r *regsync) authority(tls *section, ca *value, host string) {
	if found := fromFile.FindStringSubmatch(strings.TrimSpace(ca.text())); found != nil {
		tls.text("ca", found[1], ca)
		return
	}
	tls.text("ca", fileName(host)+".pem", ca).
		note(ca, Changed, "the certificate is a file", "save what stands under regcert there")
}

// fileName makes the name of a file of a host.
func fileName(host string) string { return strings.ReplaceAll(host, ":", "-") }

// limits reads how much is asked of the registry.
func (r *regsync) limits(v *value, host string) {
	if requests := v.get("reqConcurrent"); requests.number(0) > 0 {
		r.registry(host, v).section("limits", requests).number("requests", requests.number(0), requests)
	}
	if mirrors := v.get("mirrors"); mirrors.has() {
		mirrors.skip()
		r.registry(host, v).note(mirrors, Lost, "mirrors of "+host+" are not asked in its place", "name one as the source to read from it")
	}
	for _, setting := range []struct{ key, why string }{
		{"priority", "mirrors are not asked"},
		{"reqPerSec", "requests wait when the registry asks for it; limits.requests bounds how many there are at once"},
		{"blobChunk", "blobs are streamed"},
		{"blobMax", "blobs are streamed"},
		{"api", ""},
		{"apiOpts", ""},
	} {
		r.unused(v.get(setting.key), setting.why)
	}
}

// expand returns a text with its templates expanded. Entry is what .Sync stands for, nil
// where there is none.
func (r *regsync) expand(v, entry *value) (string, bool) {
	text := v.text()
	if !strings.Contains(text, "{{") {
		return text, true
	}
	const expected = `text, .Sync.Source, .Sync.Target, .Sync.Type, and the functions env, default, lower, upper and trimSpace`
	var read []string
	parsed, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{
		"env": func(name string) string {
			text, _ := r.env(name)
			read = append(read, name)
			return text
		},
		"default":   func(fallback, text string) string { return cmp.Or(text, fallback) },
		"lower":     strings.ToLower,
		"upper":     strings.ToUpper,
		"trimSpace": strings.TrimSpace,
	}).Parse(text)
	if err != nil || len(parsed.Templates()) != 1 || !isPlain(parsed.Root) {
		v.fail("only regsync can expand this template", expected)
		return "", false
	}
	var b bytes.Buffer
	if err := parsed.Execute(&b, r.templateData(entry)); err != nil {
		v.fail("this template cannot be expanded", expected)
		return "", false
	}
	if len(read) > 0 {
		v.note(Changed, quoted(b.String())+" is written out", "regsync reads "+strings.Join(read, " and ")+" whenever it starts")
	}
	return b.String(), true
}

// templateData is what a template is given: the entry as far as it was expanded.
func (r *regsync) templateData(entry *value) any {
	type sync struct{ Source, Target, Type string }
	data := struct{ Sync sync }{}
	if entry != nil {
		data.Sync = sync{entry.get("source").text(), entry.get("target").text(), entry.get("type").text()}
	}
	return data
}

// isPlain reports whether a template only puts texts together, with functions that do not
// make much of little.
func isPlain(list *parse.ListNode) bool {
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.TextNode, *parse.CommentNode:
		case *parse.ActionNode:
			if !isPlainPipe(n.Pipe) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func isPlainPipe(pipe *parse.PipeNode) bool {
	for _, command := range pipe.Cmds {
		for _, argument := range command.Args {
			switch argument := argument.(type) {
			case *parse.StringNode, *parse.FieldNode:
			case *parse.PipeNode:
				if !isPlainPipe(argument) {
					return false
				}
			case *parse.IdentifierNode:
				switch argument.Ident {
				case "env", "default", "lower", "upper", "trimSpace":
				default:
					return false
				}
			default:
				return false
			}
		}
	}
	return len(pipe.Decl) == 0
}
