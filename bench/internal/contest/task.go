// Package contest has the programs that a benchmark compares, and how each is told what
// to do.
package contest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/content"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/floor"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/measure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/stage"
)

// Task is what one run has to do: bring every tag of the source to the target.
type Task struct {
	Dir            string // for configuration files and output
	Source, Target *stage.Server
	Want           *stage.Inventory // what both sides hold in the end

	// What only the floor knows.
	Change *stage.Inventory // the tags that differ, and what the target lacks for them; nil where everything is missing
	Old    *stage.Inventory // what of those tags' blobs the target holds

	Plan   bool   // plan alone, and write nothing
	Prefix string // of the repositories that are meant; "" means all
}

// Answer is the task as the floor is told it.
func (t Task) Answer(small, streams int) floor.Answer {
	a := floor.Answer{Source: t.Source.URL(), Target: t.Target.URL(), Small: small, Streams: streams}
	if t.Target.ECR != nil {
		req := &http.Request{Header: http.Header{}}
		t.Target.Sign(req)
		a.Authorization = req.Header.Get("Authorization")
	}
	for _, name := range t.Want.Repositories {
		r := floor.Repository{Name: name}
		if t.Change == nil {
			r.Copy = t.Want.TagNames(name)
		} else {
			r.Compare, r.Copy = t.Want.TagNames(name), t.Change.TagNames(name)
		}
		a.Repositories = append(a.Repositories, r)
	}
	if t.Old != nil {
		a.Held = t.Old.Digests()
	}
	return a
}

// Servers are both sides.
func (t Task) Servers() []*stage.Server { return []*stage.Server{t.Source, t.Target} }

// Floor is the floor. Self is the program that reads an answer from a file and runs it.
func Floor(self []string, t Task, small, streams int) (measure.Program, error) {
	raw, err := json.Marshal(t.Answer(small, streams))
	if err != nil {
		return measure.Program{}, err
	}
	answer, err := t.write("answer.json", string(raw))
	return measure.Program{Name: "floor", Path: self[0], Args: append(self[1:len(self):len(self)], answer)}, err
}

// Ours is ecr-mirror-sync: with its defaults, a pattern for tags, and no trust policy.
// An ECR's resource tags say what to do, and a file does for another target. At an ECR
// the pace of PutImage is lifted, which would else be all that is measured.
func Ours(path string, t Task) (measure.Program, error) {
	var file strings.Builder
	fmt.Fprintln(&file, "apiVersion: ecr-mirror-sync.io/v1alpha1")
	if t.Target.ECR != nil {
		fmt.Fprintf(&file, "discovery: {enabled: true}\nregistries:\n  %q: {limits: {manifestWritesPerSecond: 10000, uploadsPerSecond: 10000}}\n", t.Target.Host)
	} else {
		fmt.Fprintln(&file, "mirrors:")
		for _, name := range t.Want.Repositories {
			fmt.Fprintf(&file, "- {name: %q, from: %q, to: %q, tags: %q}\n", name, t.Source.Host+"/"+name, t.Target.Host+"/"+name, content.TagPattern)
		}
	}
	config, err := t.write("mirrors.yaml", file.String())
	p := measure.Program{
		Name: "ecr-mirror-sync", Path: path,
		Args: []string{"sync", "--config", config, "--insecure-policy", "--output", "json"},
		Env: []string{
			"AWS_ACCESS_KEY_ID=" + stage.AccessKey, "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=us-east-1",
			"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		},
	}
	if t.Target.ECR != nil {
		p.Env = append(p.Env, "AWS_ENDPOINT_URL="+t.Target.URL())
	}
	if t.Plan {
		p.Args = append(p.Args, "--dry-run")
	}
	if t.Prefix != "" {
		p.Args = append(p.Args, "--prefix", t.Prefix)
	}
	return p, err
}

// Regsync is regclient's mirror, with as many requests at once as its documentation
// lets one ask for with profit.
func Regsync(path string, t Task) (measure.Program, error) {
	var file strings.Builder
	fmt.Fprintln(&file, "version: 1\ncreds:")
	for _, host := range []string{t.Source.Host, t.Target.Host} {
		fmt.Fprintf(&file, "- {registry: %q, tls: disabled, reqConcurrent: 32}\n", host)
	}
	fmt.Fprintln(&file, "defaults: {parallel: 32}\nsync:")
	for _, name := range t.Want.Repositories {
		fmt.Fprintf(&file, "- {source: %q, target: %q, type: repository}\n", t.Source.Host+"/"+name, t.Target.Host+"/"+name)
	}
	config, err := t.write("regsync.yaml", file.String())
	return measure.Program{Name: "regsync", Path: path, Args: []string{"once", "--config", config}}, err
}

// Crane is go-containerregistry's: one process for each repository, eight at a time.
func Crane(path string, t Task) (measure.Program, error) {
	list, err := t.write("repositories", strings.Join(t.Want.Repositories, "\n")+"\n")
	script := `xargs -P 8 -I NAME "$1" copy --insecure --all-tags "$2"/NAME "$3"/NAME <"$4"`
	return measure.Program{Name: "crane", Path: "/bin/sh", Args: []string{"-c", script, "sh", path, t.Source.Host, t.Target.Host, list}}, err
}

// Skopeo is skopeo sync.
func Skopeo(path string, t Task) (measure.Program, error) {
	var file strings.Builder
	fmt.Fprintf(&file, "%q:\n  tls-verify: false\n  images:\n", t.Source.Host)
	for _, name := range t.Want.Repositories {
		fmt.Fprintf(&file, "    %s: [%s]\n", name, strings.Join(t.Want.TagNames(name), ", "))
	}
	config, err := t.write("skopeo.yaml", file.String())
	parent, _, _ := strings.Cut(t.Want.Repositories[0], "/")
	return measure.Program{
		Name: "skopeo", Path: path,
		Args: []string{"sync", "--all", "--preserve-digests", "--dest-tls-verify=false", "--src", "yaml", "--dest", "docker", config, t.Target.Host + "/" + parent},
	}, err
}

func (t Task) write(name, text string) (path string, err error) {
	path = filepath.Join(t.Dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}
