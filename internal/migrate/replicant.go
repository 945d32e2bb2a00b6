package migrate

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// importReplicant reads the files of tammert/replicant, of all its versions: a mode for
// the file, and images by name, each from one repository to one other.
func importReplicant(d *draft, files []*value) {
	r := replicant{draft: d}
	for _, file := range files {
		r.file(file)
	}
	r.variables(files[0])
}

// replicant is one import of its files.
type replicant struct {
	*draft
	versions bool // whether it was said already how versions are read
}

// file reads one file.
func (r *replicant) file(file *value) {
	images := file.get("images")
	mode := r.mode(file.get("mode"), "highest")
	if r.defaults.empty() {
		r.defaults.flag("replace", false, images).
			comment(`replicant leaves a tag alone that is there already, unless replace-tag says otherwise. So does this, and it reports those that upstream has moved; immutable: "*" below a mirror's tags would not even compare them.`)
		r.defaults.text("platform", "linux/amd64", images).
			comment("replicant copies the image for linux/amd64 alone. Without this line all platforms are mirrored, in one index as upstream has it; a tag that replicant copied differs from that, and is updated where replace is true.")
	}
	for _, image := range images.entries() {
		r.image(image, mode)
	}
}

// mode reads a mode, which stands for another where there is none.
func (r *replicant) mode(v *value, absent string) string {
	mode := v.text()
	if mode == "" {
		return absent
	}
	if !slices.Contains([]string{"highest", "higher", "semver", "all"}, mode) {
		v.fail(quoted(mode)+" is not a mode", "highest, higher, semver or all")
	}
	return mode
}

// image reads one of the images.
func (r *replicant) image(image *value, mode string) {
	if !image.has() {
		image.note(Ignored, "an image that says nothing", "")
		return
	}
	source, destination := image.get("source"), image.get("destination")
	if !image.isMap() || !source.given("the repository to mirror from") || !destination.given("the repository to mirror to") {
		return
	}
	m := r.mirror(image.name, image)
	m.text("from", source.text(), source)
	m.text("to", destination.text(), destination)
	r.tags(m, image, r.mode(image.get("mode"), mode))
	if replace := image.get("replace-tag"); replace.flag(false) {
		m.flag("replace", true, replace).
			note(replace, Changed, "a tag that upstream has moved is updated at the destination", "replicant wrote it back to the source")
	}
	r.credentialsFor(source)
	r.credentialsFor(destination)
}

// tags writes which tags an image's mode means.
func (r *replicant) tags(m *section, image *value, mode string) {
	from := image.get("mode")
	tags := m.section("tags", image)
	line := tags.text("mode", mode, from)
	if mode == "all" {
		r.unusedInAll(image)
		return
	}
	if mode == "higher" {
		line.note(from, Changed, "a destination without any such version gets the highest first", "replicant copied nothing to it, ever")
	}
	floating := tags.flag("floating", true, from)
	if !r.versions {
		r.versions = true
		floating.comment("For replicant 1.27 is a version beside 1.27.3, wherever floating is true.")
		r.note(image, Changed, "calendar versions (2024.8.1), four numbers (1.2.3.4) and repackagings (1.2.3-1) count as versions",
			"replicant did not take them; exclude leaves such tags out")
	}
	r.variant(tags, image)
	if major := image.get("pinned-major"); major.text() != "" {
		tags.number("major", major.number(0), major)
	}
	if prerelease := image.get("allow-prerelease"); prerelease.flag(false) && !tags.has("prerelease") {
		tags.flag("prerelease", true, prerelease).
			note(prerelease, Changed, "1.2.3-alpine is a variant of 1.2.3 and no pre-release", `replicant took every suffix for a pre-release; variant: "*" lets them all in`)
	}
}

// unusedInAll notes the keys that the mode all does not look at.
func (r *replicant) unusedInAll(image *value) {
	for _, key := range []string{"compatibility", "pinned-major", "allow-prerelease"} {
		if v := image.get(key); v.text() != "" {
			v.note(Ignored, "mode all mirrors every tag", "replicant did not look at it either")
		}
	}
}

var compatibilityPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)

// variant writes what compatibility means: the whole of a version's suffix.
func (r *replicant) variant(tags *section, image *value) {
	v := image.get("compatibility")
	suffix := v.text()
	if suffix == "" {
		return
	}
	if !compatibilityPattern.MatchString(suffix) {
		v.fail(quoted(suffix)+" ends no version", "what follows the version's dash, such as alpine")
		return
	}
	version, ok := selection.ParseVersion("1.2.3-" + suffix)
	if ok && version.Variant == suffix {
		tags.text("variant", suffix, v)
		return
	}
	// What is a pre-release or a repackaging here, such as rc.1, is chosen by its name.
	tags.text("regex", `v?[0-9]+(\.[0-9]+){0,2}-`+regexp.QuoteMeta(suffix), v).
		comment("compatibility: " + suffix)
	tags.flag("prerelease", true, v)
}

// credentialsFor writes the credentials that replicant takes from the environment for a
// kind of registry, which it recognises by the host. Google's need no word: a registry of
// theirs is asked as the machine.
func (r *replicant) credentialsFor(repository *value) {
	parsed, err := ref.ParseRepository(repository.text())
	if err != nil {
		return // which is reported once the configuration is judged
	}
	if strings.HasSuffix(parsed.Host, ".azurecr.io") {
		r.references(parsed.Host, "${AZURE_SP_ID}", "${AZURE_SP_PASSWORD}", repository)
	}
}

// variables reads replicant's own environment variables.
func (r *replicant) variables(file *value) {
	if r.settings.Debug = r.switchedOn("REPLICANT_DEBUG"); r.settings.Debug {
		file.note(Ignored, "REPLICANT_DEBUG is a matter of the run, not of this file", "--debug")
	}
	if r.settings.ExitOnError = r.switchedOn("REPLICANT_EXIT_ON_ERROR"); r.settings.ExitOnError {
		file.note(Ignored, "REPLICANT_EXIT_ON_ERROR is a matter of the run, not of this file", "--exit-on-error")
	}
}

// switchedOn reads an environment variable that is a switch.
func (d *draft) switchedOn(name string) bool {
	text, _ := d.env(name)
	on, err := strconv.ParseBool(text)
	return on && err == nil
}
