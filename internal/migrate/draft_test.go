package migrate_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
)

func importText(format migrate.Format, text string) (*migrate.Imported, error) {
	return migrate.Import(format, []migrate.Input{{Name: "old.yaml", Data: []byte(text)}}, migrate.Options{})
}

func TestFormats(t *testing.T) {
	for _, format := range migrate.Formats() {
		if parsed, err := migrate.ParseFormat(string(format)); parsed != format || err != nil {
			t.Errorf("%s: %v, %v", format, parsed, err)
		}
		if _, err := migrate.Import(format, nil, migrate.Options{}); fmt.Sprint(err) != ": no file was named" {
			t.Errorf("%s, without a file: %v", format, err)
		}
	}
	if _, err := migrate.ParseFormat("Replicant"); err == nil {
		t.Error("a format in upper case")
	}
	if _, err := importText("compose", "a: b"); err == nil {
		t.Error("an unknown format")
	}
}

func TestDefaultFile(t *testing.T) {
	env := lookUp(map[string]string{"REPLICANT_CONFIG_FILE": "/etc/replicant.yaml"})
	if got := migrate.Replicant.DefaultFile(env); got != "/etc/replicant.yaml" {
		t.Errorf("replicant, from the environment: %q", got)
	}
	if got := migrate.Replicant.DefaultFile(lookUp(nil)); got != "/config/replicant.yaml" {
		t.Errorf("replicant: %q", got)
	}
	if got := migrate.Dregsy.DefaultFile(env); got != "" {
		t.Errorf("dregsy: %q", got)
	}
}

// Names that no mirror can have become names that one can, each its own.
func TestNames(t *testing.T) {
	var images strings.Builder
	for _, name := range []string{"a", `"a "`, `"a-2"`, `"-a"`, `"a\n"`, `"ä"`, `"..."`, strings.Repeat("long", 50), strings.Repeat("long", 51)} {
		fmt.Fprintf(&images, "  %s: {source: docker.io/library/x, destination: registry.example.com/x%d}\n", name, images.Len())
	}
	imported, err := importText(migrate.Replicant, "images:\n"+images.String())
	if err != nil {
		t.Fatal(err)
	}
	checkImported(t, imported, migrate.Options{})
	if len(imported.Places) != 9 {
		t.Errorf("%d mirrors: %v", len(imported.Places), slices.Sorted(maps.Keys(imported.Places)))
	}
}

// Two hosts whose variables would have one name get one each, and nobody another's
// secret.
func TestSecretsOfHostsWithLikeNames(t *testing.T) {
	imported, err := importText(migrate.DockerSync, `
sync:
  registries:
    - {name: one, url: a-b.example.com, auth: {username: jane, password: canary-one}}
    - {name: two, url: a.b.example.com, auth: {username: jane, password: canary-two}}
    - {name: three, url: "127.0.0.1:5000", auth: {username: joe, password: canary-three}}
`)
	if err != nil {
		t.Fatal(err)
	}
	checkImported(t, imported, migrate.Options{})
	want := map[string]string{
		"A_B_EXAMPLE_COM_USERNAME": "jane", "A_B_EXAMPLE_COM_PASSWORD": "canary-one", "A_B_EXAMPLE_COM_PASSWORD_2": "canary-two",
		"REGISTRY_127_0_0_1_5000_USERNAME": "joe", "REGISTRY_127_0_0_1_5000_PASSWORD": "canary-three",
	}
	got := make(map[string]string)
	for name, secret := range imported.Secrets {
		got[name] = secret.Reveal()
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if !strings.Contains(string(imported.YAML), "password: ${A_B_EXAMPLE_COM_PASSWORD_2}") {
		t.Errorf("the second host:\n%s", imported.YAML)
	}
	env := imported.Env(lookUp(map[string]string{"A_B_EXAMPLE_COM_USERNAME": "another", "HOME": "/root"}))
	if user, _ := env("A_B_EXAMPLE_COM_USERNAME"); user != "jane" {
		t.Errorf("the user is %s", user)
	}
	if home, ok := env("HOME"); home != "/root" || !ok {
		t.Errorf("HOME is %q, %v", home, ok)
	}
}

// What stands in an old file stays inside of the comments that quote it.
func TestCommentsStayComments(t *testing.T) {
	for _, breaks := range []string{`\n`, `\r`, `\u0085`, `\u2028`, `\u2029`, `\ufeff`, `\x00`, `\x1b[31m`} {
		name := fmt.Sprintf(`"harmless%smirrors: [stolen]"`, breaks)
		imported, err := importText(migrate.DockerSync, fmt.Sprintf(`
sync:
  images:
    - {source: docker.io/library/x, targets: [registry.example.com/x, %s], %s: unknown}
  registries:
    - {name: %s, url: docker.io, auth: {username: jane, password: canary}}
    - {name: other, url: docker.io}
    - {name: other, url: %s}
`, strings.Replace(name, "harmless", "s3:b:c", 1), name, name, strings.Replace(name, "harmless", "https://", 1)))
		if err != nil {
			t.Errorf("%s: %v", breaks, err)
			continue
		}
		checkImported(t, imported, migrate.Options{})
		if text := string(imported.YAML); strings.Contains(text, "\nmirrors: [stolen]") || strings.Contains(text, "\x1b") || len(imported.Places) != 1 {
			t.Errorf("%s:\n%s", breaks, text)
		}
	}
}

// Files that are made to take long, or to need much, are refused or done in no time.
func TestLimits(t *testing.T) {
	const images = 16_000
	var many strings.Builder
	for i := range images {
		fmt.Fprintf(&many, " %d: {source: a/b, destination: r.io/%d}\n", i, i)
	}
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x]\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	for name, text := range map[string]string{
		"too many mirrors": "images:\n" + many.String(),
		"too large":        "images: # " + strings.Repeat("x", 1<<20),
		"aliases":          bomb.String(),
		"too deep":         "images: " + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
		"no text":          "\xff\xfe",
		"two documents":    "images: {}\n---\nimages: {}\n",
		"empty":            "",
		"nothing":          "~",
		"a list":           "- images",
		"a key twice":      "images: {}\nimages: {}\n",
		"a tag":            "images: !!binary aGk=",
	} {
		start := time.Now()
		_, err := importText(migrate.Replicant, text)
		if err == nil {
			t.Errorf("%s: it is imported", name)
			continue
		}
		checkProblems(t, []migrate.Input{{Name: "old.yaml"}}, err)
		t.Logf("%s: %.200s (%s)", name, err, time.Since(start).Round(time.Millisecond))
	}
}
