package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
)

// Repositories says how destination repositories come into being, and how they are to be.
type Repositories struct {
	Create          Creation          `yaml:"create" doc:"What becomes of a destination repository that is missing: true creates it, with the settings below, before the first image is written to it; on-push leaves it to ECR, which creates it from a creation template for CREATE_ON_PUSH; false reports it. --create-repositories goes before it." default:"false"`
	Reconcile       Reconciliation    `yaml:"reconcile" doc:"What becomes of a repository that exists and has not the settings below: report (or true) warns, with both values; apply changes it; false does not look." default:"false"`
	Describe        *bool             `yaml:"describe" doc:"Give the repository the resource tags that say what it mirrors (upstream-image, upstream-tags and so on), so that it describes itself. Where discovery searches there, too, it would be mirrored by two rules: use one of them." default:"false"`
	ResourceTags    map[string]string `yaml:"resourceTags" aka:"tags" is:"resourceTagKey" doc:"Resource tags. Others that the repository has are left alone."`
	ScanOnPush      *bool             `yaml:"scanOnPush" aka:"imageScanning,imageScanningConfiguration" doc:"Scan images when they are pushed." default:"ECR's own: false"`
	Encryption      *Encryption       `yaml:"encryption" aka:"encryptionConfiguration" doc:"How images are encrypted. A repository that exists keeps its encryption: a difference can only be reported." default:"ECR's own: AES256"`
	TagMutability   *TagMutability    `yaml:"tagMutability" aka:"imageTagMutability" doc:"Which tags may be overwritten: a mode, or a map with exclusions." default:"ECR's own: MUTABLE"`
	LifecyclePolicy Document          `yaml:"lifecyclePolicy" doc:"ECR's lifecycle policy: its JSON, or file:PATH."`
	Policy          Document          `yaml:"policy" aka:"repositoryPolicy" doc:"The repository's policy: its JSON, or file:PATH."`
}

// Encryption is how the images of a repository are kept.
type Encryption struct {
	Type   string `yaml:"type" is:"encryption" must:"true" doc:"AES256, KMS or KMS_DSSE."`
	KMSKey string `yaml:"kmsKey" is:"text" doc:"The key: its ARN, id or alias." default:"the account's key for ECR"`
}

func (e *Encryption) check(r *reader, path string) {
	if e.KMSKey != "" && e.Type == "AES256" {
		r.fail(path+".kmsKey", "AES256 has no key of yours", "type: KMS or KMS_DSSE")
	}
}

// TagMutability says which tags may be overwritten. The mode may be written alone.
type TagMutability struct {
	Mode       string   `yaml:"mode" is:"mutability" must:"true" doc:"MUTABLE, IMMUTABLE, or one of these with _WITH_EXCLUSION. The mode may be written alone: tagMutability: IMMUTABLE."`
	Exclusions []string `yaml:"exclusions" aka:"exclusionFilters" is:"exclusion" doc:"With a mode that has exclusions, 1 to 5 wildcard filters of the tags for which the opposite holds."`
}

// mostExclusions is how many filters ECR takes.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
const mostExclusions = 5

func (m *TagMutability) read(r *reader, n *node, path string) {
	if n.kind == scalar {
		m.Mode, _ = r.text(n, "mutability", path)
		r.sound(m, r.book.count, path)
		return
	}
	r.structureOf(m, n, path)
}

func (m *TagMutability) check(r *reader, path string) {
	excluding := m.Mode == "MUTABLE_WITH_EXCLUSION" || m.Mode == "IMMUTABLE_WITH_EXCLUSION"
	switch {
	case m.Mode == "": // its problem is noted
	case excluding != (len(m.Exclusions) > 0):
		r.fail(path, "exclusions go with MUTABLE_WITH_EXCLUSION and IMMUTABLE_WITH_EXCLUSION, and these need them", "both or neither")
	case len(m.Exclusions) > mostExclusions:
		r.fail(path+".exclusions", fmt.Sprintf("%d exclusions", len(m.Exclusions)), fmt.Sprintf("at most %d", mostExclusions))
	}
}

func (m TagMutability) show() *yaml.Node {
	if len(m.Exclusions) == 0 {
		return text(m.Mode)
	}
	return structureNode(m)
}

func (*TagMutability) schema(g *generator) schema {
	return schema{"anyOf": []schema{textSchema("mutability"), g.reference(reflect.TypeFor[TagMutability]())}}
}

// A Creation is true, false or on-push.
type Creation string

func (c *Creation) read(r *reader, n *node, path string) {
	*c = Creation(r.choice(n, path, "on-push"))
}

func (c Creation) show() *yaml.Node { return chosen(string(c)) }

func (*Creation) schema(*generator) schema { return choiceSchema("on-push") }

// how is what the word stands for.
func (c Creation) how() provision.Create {
	switch c {
	case "true":
		return provision.ByCall
	case "on-push":
		return provision.OnPush
	}
	return provision.Never
}

// A Reconciliation is true, false, report or apply.
type Reconciliation string

func (c *Reconciliation) read(r *reader, n *node, path string) {
	*c = Reconciliation(r.choice(n, path, "report", "apply"))
}

func (c Reconciliation) show() *yaml.Node { return chosen(string(c)) }

func (*Reconciliation) schema(*generator) schema { return choiceSchema("report", "apply") }

func (c Reconciliation) how() provision.Reconcile {
	switch c {
	case "true", "report":
		return provision.Report
	case "apply":
		return provision.Apply
	}
	return provision.Ignore
}

// choice reads true, false or one of some words.
func (r *reader) choice(n *node, path string, words ...string) string {
	r.places[path] = n.at
	expected := strings.Join(append([]string{"true", "false"}, words...), ", ")
	isSwitch := n.tag == "!!bool" && (n.value == "true" || n.value == "false")
	switch {
	case n.kind != scalar:
		r.wrongKind(n, path, expected)
	case isSwitch, slices.Contains(words, n.value):
		return n.value
	default:
		r.fail(path, isNot(n.value, "a choice"), expected)
	}
	return ""
}

func chosen(word string) *yaml.Node {
	if word == "true" || word == "false" {
		return alwaysNode(reflect.ValueOf(word == "true"))
	}
	return text(word)
}

func choiceSchema(words ...string) schema {
	return schema{"anyOf": []schema{{"type": "boolean"}, {"type": "string", "enum": words}}}
}

// A Document is JSON: written out, or in a file that file:PATH names.
type Document struct {
	reference string // "" where it is written out
	text      string
}

func (d *Document) read(r *reader, n *node, path string) {
	r.places[path] = n.at
	const expected = "JSON in quotes or as a block (|), or file:PATH"
	if n.kind != scalar || n.value == "" {
		r.wrongKind(n, path, expected)
		return
	}
	d.text = n.value
	if name, isFile := fileReference(n.value); isFile {
		name = besides(n.at.File, name)
		d.reference, d.text = "file:"+name, ""
		if !r.complete() {
			return
		}
		data, err := r.secrets.readFile(name)
		if err != nil {
			r.fail(path, "the file cannot be read: "+oneLine(err.Error()), "")
			return
		}
		d.text = string(data)
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(d.text), &object); err != nil {
		r.fail(path, "this is no JSON object: "+oneLine(err.Error()), expected)
	}
}

var fileForm = regexp.MustCompile(`^file:(.+)$`)

func fileReference(s string) (name string, ok bool) {
	if m := fileForm.FindStringSubmatch(s); m != nil {
		return m[1], true
	}
	return "", false
}

func (d Document) show() *yaml.Node {
	if d.reference != "" {
		return text(d.reference)
	}
	return text(d.text)
}

func (*Document) schema(*generator) schema { return schema{"type": "string"} }

// Lengths that ECR's service model gives, in characters.
const (
	leastLifecycle, mostLifecycle = 100, 30720
	mostPolicy                    = 10240
)

func (p *Repositories) check(r *reader, path string) {
	if n := len([]rune(p.LifecyclePolicy.text)); n > 0 && (n < leastLifecycle || n > mostLifecycle) {
		r.fail(path+".lifecyclePolicy", fmt.Sprintf("a lifecycle policy of %d characters", n), fmt.Sprintf("%d to %d", leastLifecycle, mostLifecycle))
	}
	if n := len([]rune(p.Policy.text)); n > mostPolicy {
		r.fail(path+".policy", fmt.Sprintf("a policy of %d characters", n), fmt.Sprintf("at most %d", mostPolicy))
	}
	for _, key := range slices.Sorted(maps.Keys(p.ResourceTags)) {
		if !resourceTagValue.MatchString(p.ResourceTags[key]) {
			r.fail(path+".resourceTags"+label(key, 0), isNot(p.ResourceTags[key], "a value of a resource tag"), "at most 256 of letters, digits, spaces and _ . : / = + - @")
		}
	}
}

// resourceTagValue is what ECR takes.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html
var resourceTagValue = pattern(`^[\p{L}\p{N} _.:/=+@-]{0,256}$`)

// over returns p with what it does not say taken from defaults. Either may be nil.
func (p *Repositories) over(defaults *Repositories) Repositories {
	own, rest := orElse(p, Repositories{}), orElse(defaults, Repositories{})
	merged := reflect.ValueOf(&own).Elem()
	for i := range merged.NumField() {
		if merged.Field(i).IsZero() {
			merged.Field(i).Set(reflect.ValueOf(rest).Field(i))
		}
	}
	return own
}

// rule compiles what is asked of a destination repository.
func (p Repositories) rule() provision.Rule {
	rule := provision.Rule{
		Create:    p.Create.how(),
		Reconcile: p.Reconcile.how(),
		Settings: provision.Settings{
			ResourceTags:    p.ResourceTags,
			ScanOnPush:      p.ScanOnPush,
			LifecyclePolicy: p.LifecyclePolicy.text,
			Policy:          p.Policy.text,
		},
	}
	if e := p.Encryption; e != nil {
		rule.Settings.Encryption = provision.Encryption{Type: e.Type, KMSKey: e.KMSKey}
	}
	if m := p.TagMutability; m != nil {
		rule.Settings.TagMutability = provision.TagMutability{Mode: m.Mode, Exclusions: m.Exclusions}
	}
	return rule
}

// describe adds to what is asked of m's destination the resource tags that say what m
// mirrors.
func describe(m *discover.Mirror) error {
	if m.As != "" {
		return fmt.Errorf("resource tags cannot say that the tag is called %s at the destination", m.As)
	}
	said, err := discover.Format(discover.Spec{
		Upstream: m.Upstream, Rules: m.Rules, Platforms: m.Platforms, Options: m.Options, Prune: m.Prune,
	}, discover.NewKeys("", ""))
	if err != nil {
		return err
	}
	tags := maps.Clone(m.Repository.Settings.ResourceTags)
	if tags == nil {
		tags = map[string]string{}
	}
	maps.Copy(tags, said)
	m.Repository.Settings.ResourceTags = tags
	return nil
}

// settings notes destination repositories of which two mirrors ask for different things.
// With reconcile: apply each run would change them to and fro.
func (c *compiler) settings() {
	first := make(map[string]int)
	for i, rule := range c.rules {
		target := rule.Mirror.Target.String()
		earlier, taken := first[target]
		if !taken {
			first[target] = i
			continue
		}
		if !reflect.DeepEqual(c.rules[earlier].Mirror.Repository, rule.Mirror.Repository) {
			c.reader.fail(c.places[i], "the mirror "+quoted(c.rules[earlier].Mirror.Name)+" asks for other settings of the repository "+target, "the same repositories keys, without describe, for mirrors of one destination")
		}
	}
}
