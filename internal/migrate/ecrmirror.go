package migrate

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
)

// importECRMirror reads the resource tags of ECR repositories as onfido/ecr-mirror does, in
// what "aws resourcegroupstaggingapi get-resources" prints: a page, or a list of pages.
func importECRMirror(d *draft, files []*value) {
	e := ecrMirror{draft: d}
	d.defaults.text("platform", "linux/amd64", files[0]).
		comment("ecr-mirror copies the image for linux/amd64 alone, unless --override-arch says otherwise, and so does this. Without this line all platforms are mirrored, as upstream has them.")
	for _, file := range files {
		pages := []*value{file}
		if file.isList() {
			pages = file.items()
		}
		for _, page := range pages {
			e.page(page)
		}
	}
}

// ecrMirror is one import of resource tags.
type ecrMirror struct{ *draft }

func (e *ecrMirror) page(page *value) {
	if token := page.get("PaginationToken"); token.text() != "" {
		token.note(Changed, "there is a further page", "only what the files hold is imported; without --no-paginate, the AWS CLI prints all pages as one")
	}
	list := page.get("ResourceTagMappingList")
	if !list.has() && (!page.has() || page.isMap()) {
		list.fail("ResourceTagMappingList is missing", "what aws resourcegroupstaggingapi get-resources prints")
	}
	for _, resource := range list.items() {
		e.resource(resource)
	}
}

// repositoryARN is the name of an ECR repository. ARNs of other partitions than these
// say nothing about hosts.
var repositoryARN = regexp.MustCompile(`^arn:(aws|aws-us-gov|aws-cn):ecr:([a-z0-9-]+):([0-9]{12}):repository/(.+)$`)

// resource reads one repository.
func (e *ecrMirror) resource(resource *value) {
	arn := resource.get("ResourceARN")
	tags := readResourceTags(resource.get("Tags"))
	found := repositoryARN.FindStringSubmatch(arn.text())
	if found == nil {
		arn.fail(quoted(arn.text())+" is not an ECR repository", "arn:aws:ecr:REGION:ACCOUNT:repository/NAME")
		return
	}
	reader, remarks, err := discover.FromTags(tags.text, discover.NewKeys("", ""))
	for _, remark := range remarks {
		resource.note(Changed, remark, "ecr-mirror does not read it either")
	}
	image := tags.from["upstream-image"]
	if image == nil {
		resource.note(Ignored, "there is no resource tag upstream-image", "")
		return
	}
	m := e.mirror(found[4], resource)
	m.text("from", tags.text["upstream-image"], image)
	m.text("to", ecrHost(found)+"/"+found[4], arn)
	meant := e.tags(m, resource, tags)
	compareWithReader(m, resource, meant, reader.Rules, err)
	for _, key := range tags.others() {
		tags.from[key].note(Changed, "ecr-mirror does not read this", "where resource tags are read, and not this file, it counts")
	}
}

// ecrHost returns the host of the registry whose parts were found in an ARN.
func ecrHost(arn []string) string {
	host := arn[3] + ".dkr.ecr." + arn[2] + ".amazonaws.com"
	if arn[1] == "aws-cn" {
		host += ".cn"
	}
	return host
}

// resourceTags are the resource tags of a repository, by their keys.
type resourceTags struct {
	text map[string]string
	from map[string]*value
}

func readResourceTags(list *value) resourceTags {
	tags := resourceTags{make(map[string]string), make(map[string]*value)}
	for _, item := range list.items() {
		key, value := item.get("Key").text(), item.get("Value")
		tags.text[key], tags.from[key] = value.text(), value
	}
	return tags
}

// others returns the keys that the program reads and ecr-mirror does not.
func (t resourceTags) others() []string {
	keys := discover.NewKeys("", "")
	return slices.DeleteFunc(slices.Sorted(maps.Keys(t.text)), func(key string) bool {
		return key == keys.Image || key == keys.Tags || key == keys.Ignore || !keys.Relevant(key)
	})
}

// tags writes what upstream-tags and ignore-tags mean, and returns it.
func (e *ecrMirror) tags(m *section, resource *value, tags resourceTags) (meant discover.Rules) {
	to := m.section("tags", resource)
	if chosen := tags.from["upstream-tags"]; chosen == nil || strings.TrimSpace(chosen.text()) == "" {
		to.text("globs", "*", resource).
			note(resource, Changed, "without upstream-tags all tags are mirrored, as ecr-mirror's code means it", "what it does is to copy none")
		meant.Choose = []discover.Term{{Kind: discover.Glob, Pattern: "*"}}
	} else {
		meant.Choose = writePatterns(to, chosen)
	}
	if ignored := tags.from["ignore-tags"]; ignored != nil && strings.TrimSpace(ignored.text()) != "" {
		meant.Exclude = writePatterns(to.section("exclude", ignored), ignored)
	}
	return meant
}

// tagPattern is a pattern that can match a tag, of up to 128 characters.
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_*][A-Za-z0-9._*-]*$`)

// writePatterns reads patterns as ecr-mirror has them: separated by "/", with "+" for any
// run of characters and nothing else that is special.
func writePatterns(to *section, from *value) []discover.Term {
	var terms []discover.Term
	texts := make(map[discover.TermKind][]string)
	for written := range strings.SplitSeq(from.text(), "/") {
		pattern := strings.ReplaceAll(written, "+", "*")
		if len(pattern) > 128 || !tagPattern.MatchString(pattern) {
			from.note(Ignored, quoted(written)+" matches no tag", "for ecr-mirror too every character but + stands for itself")
			continue
		}
		kind := discover.Literal
		if strings.Contains(pattern, "*") {
			kind = discover.Glob
		}
		texts[kind] = append(texts[kind], pattern)
		terms = append(terms, discover.Term{Kind: kind, Pattern: pattern})
	}
	if len(terms) == 0 {
		from.fail(quoted(from.text())+" has no pattern that can match a tag", "tags, or globs such as 1.27.+, separated by /")
	}
	if literals := texts[discover.Literal]; len(literals) > 0 {
		to.texts("literals", literals, from)
	}
	if globs := texts[discover.Glob]; len(globs) > 0 {
		to.texts("globs", globs, from)
	}
	return terms
}

// compareWithReader notes where resource tags mean something else to the program itself,
// which reads them where they are.
func compareWithReader(m *section, resource *value, meant, read discover.Rules, err error) {
	const without = "where resource tags are read, and not this file"
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		m.note(resource, Changed, without+", they are an error", first)
		return
	}
	if !sameTerms(meant.Choose, read.Choose) || !sameTerms(meant.Exclude, read.Exclude) || read.Newest != 0 || read.Mode != "" {
		m.note(resource, Changed, without+", they mean "+read.String(), "")
	}
}

func sameTerms(meant, read []discover.Term) bool {
	return slices.EqualFunc(meant, read, func(a, b discover.Term) bool { return a.Kind == b.Kind && a.Pattern == b.Pattern })
}
