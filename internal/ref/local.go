package ref

import (
	"fmt"
	"path"
	"strings"
)

// Schemes of places on disk.
const (
	SchemeLayout  = "oci"         // a directory whose directories are OCI image layouts: oci:DIR
	SchemeArchive = "oci-archive" // a directory whose files are such layouts, in tar: oci-archive:DIR
)

// Local reports whether a repository is on disk.
func (r Repository) Local() bool {
	scheme := r.Scheme()
	return scheme == SchemeLayout || scheme == SchemeArchive
}

// ParseUpstream reads the reference of an upstream, as Parse does, or of a layout on
// disk: oci:DIR/NAME[:TAG], oci-archive:DIR/NAME[:TAG]. Only who runs the program may
// name those: what comes from resource tags is read by Parse.
func ParseUpstream(s string) (Reference, error) {
	if isLocal(s) {
		return parseLocal(s)
	}
	return Parse(s)
}

// Under returns the repository with that path at a place, as Repository.Host has it.
func Under(host, repo string) (Repository, error) {
	if (Repository{Host: host}).Scheme() != "" {
		r, err := within(host, repo, host+"/"+repo)
		if err == nil && r.Identifier() != "" {
			err = fmt.Errorf("%q is no path of a repository", repo)
		}
		return r.Repository, err
	}
	r, err := ParseRepository(host + "/" + repo)
	if err == nil && r.Host != host {
		err = fmt.Errorf("%q is no registry host", host)
	}
	return r, err
}

func isLocal(s string) bool {
	return strings.HasPrefix(s, SchemeLayout+":") && !port.MatchString(strings.TrimPrefix(s, SchemeLayout+":")) || strings.HasPrefix(s, SchemeArchive+":")
}

// parseLocal reads a layout on disk. Its directory is the place, and its own name the
// path, which is like a registry's: layouts become repositories when they are read.
func parseLocal(s string) (Reference, error) {
	const expected = "expected oci:DIR/NAME[:TAG] or oci-archive:DIR/NAME[:TAG]"
	scheme, file, _ := strings.Cut(s, ":")
	dir, name := path.Split(file)
	if name == "" {
		return Reference{}, fmt.Errorf("%q names no layout: %s", s, expected)
	}
	place, err := parseDirectory(scheme + ":" + dir)
	if err != nil {
		return Reference{}, err
	}
	return within(place, name, s)
}

// parseDirectory reads a place on disk.
func parseDirectory(s string) (string, error) {
	scheme, dir, _ := strings.Cut(s, ":")
	if strings.ContainsAny(dir, ":@") || strings.ContainsFunc(dir, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%q names no directory that a reference can: it holds a colon, an @ or a control character", s)
	}
	return scheme + ":" + path.Clean(dir), nil
}
