package report

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// TerraformTags writes resource tags as the tags argument of an aws_ecr_repository, in
// Terraform's own layout.
func TerraformTags(tags map[string]string) string {
	names := make(map[string]string, len(tags))
	widest := 0
	for key := range tags {
		names[key] = terraformKey(key)
		widest = max(widest, len([]rune(names[key])))
	}
	var b strings.Builder
	b.WriteString("tags = {\n")
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		fmt.Fprintf(&b, "  %-*s = %s\n", widest, names[key], terraformText(tags[key]))
	}
	b.WriteString("}\n")
	return b.String()
}

// TerraformRepository writes a whole aws_ecr_repository with these resource tags.
func TerraformRepository(name string, tags map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "resource \"aws_ecr_repository\" %q {\n  name = %s\n\n", terraformLabel(name), terraformText(name))
	for line := range strings.Lines(TerraformTags(tags)) {
		b.WriteString("  " + line)
	}
	b.WriteString("}\n")
	return b.String()
}

// Compiled once, never changed.
var (
	terraformIdentifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
	notInLabels         = regexp.MustCompile(`[^A-Za-z0-9_]+`)
)

// terraformKey writes the key of an object: bare where it reads as one name.
func terraformKey(key string) string {
	if terraformIdentifier.MatchString(key) {
		return key
	}
	return terraformText(key)
}

// terraformLabel is a resource's name in Terraform: external/nginx is external_nginx.
func terraformLabel(name string) string {
	label := strings.Trim(notInLabels.ReplaceAllString(name, "_"), "_")
	if !terraformIdentifier.MatchString(label) {
		label = "_" + label
	}
	return label
}

// terraformText quotes text so that nothing in it is a template: "${" and "%{" are
// written "$${" and "%%{".
// https://developer.hashicorp.com/terraform/language/expressions/strings
func terraformText(s string) string {
	s = strings.NewReplacer(
		`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "${", "$${", "%{", "%%{",
	).Replace(s)
	return `"` + escapeInvisible(s, yamlEscape) + `"`
}
