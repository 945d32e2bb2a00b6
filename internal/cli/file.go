package cli

import (
	"crypto/tls"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/bucket"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/certs"
)

// fileFlags name configuration files.
type fileFlags struct {
	paths       []string
	format      string
	destination string

	read func(path string) ([]byte, error) // nil means os.ReadFile
}

func (f *fileFlags) register(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.paths, "config", nil, "configuration `FILE`; repeatable, a later file goes over an earlier one (see config --help)")
	flags.StringVar(&f.format, "config-format", "", "the files are another tool's: `FORMAT` "+strings.Join(formatNames(), ", ")+" (see config import --help)")
	flags.StringVar(&f.destination, "config-destination", "", "with --config-format skopeo-sync, where the images go: `REGISTRY[/PREFIX]`")
}

func (f *fileFlags) readFile(path string) ([]byte, error) {
	if f.read != nil {
		return f.read(path)
	}
	return os.ReadFile(path)
}

// named reports whether there is a file to follow.
func (f *fileFlags) named() bool { return len(f.paths) > 0 || f.format != "" }

// followed is what the files say.
type followed struct {
	*config.Config
	settings migrate.Settings // of another tool's files and environment
	notes    []migrate.Note   // what is different from another tool's files
}

// load reads the files. Without any it returns a configuration that says nothing.
func (f *fileFlags) load(streams Streams) (followed, error) {
	switch {
	case f.format != "":
		return f.imported(streams)
	case f.destination != "":
		return followed{}, usageErrorf("--config-destination goes with --config-format %s", migrate.SkopeoSync)
	case len(f.paths) == 0:
		return followed{Config: &config.Config{}}, nil
	}
	loaded, err := config.Load(f.paths, os.LookupEnv, f.readFile)
	if err != nil {
		return followed{}, usageError{err}
	}
	return followed{Config: loaded}, nil
}

// imported reads files of another tool, or the one that it reads where none is named. The
// configuration that they become is never written: the credentials in them stand where it
// expects environment variables.
func (f *fileFlags) imported(streams Streams) (followed, error) {
	format, err := migrate.ParseFormat(f.format)
	if err != nil {
		return followed{}, usageErrorf("--config-format: %w", err)
	}
	if format != migrate.SkopeoSync && f.destination != "" {
		return followed{}, usageErrorf("--config-destination goes with --config-format %s", migrate.SkopeoSync)
	}
	paths := f.paths
	if usual := format.DefaultFile(os.LookupEnv); len(paths) == 0 && usual != "" {
		paths = []string{usual}
	}
	if len(paths) == 0 {
		return followed{}, usageErrorf("--config-format %s needs --config FILE", format)
	}
	files, err := readInputs(streams, paths)
	if err != nil {
		return followed{}, err
	}
	imported, err := migrate.Import(format, files, migrate.Options{Env: os.LookupEnv, Destination: f.destination})
	if err != nil {
		return followed{}, usageError{err}
	}
	const name = "imported"
	loaded, err := config.Load([]string{name}, imported.Env(os.LookupEnv), func(path string) ([]byte, error) {
		if path == name {
			return imported.YAML, nil
		}
		return f.readFile(path)
	})
	if err != nil {
		return followed{}, usageErrorf("%s: what it became cannot be followed: %w", strings.Join(paths, ", "), err)
	}
	loaded.Move(imported.Places)
	return followed{Config: loaded, settings: imported.Settings, notes: imported.Notes}, nil
}

// credentials are what the file gives registries. A host that it names gets that and
// nothing else; rest answers for the others.
func credentials(file *config.Config, rest auth.Provider, from clouds) (auth.Provider, error) {
	hosts := make(map[string]auth.Provider)
	add := func(place, host, key string, c *config.Credentials) error {
		if c == nil {
			return nil
		}
		provider, err := credential(host, key+".credentials", *c, from)
		hosts[place] = provider
		return err
	}
	for host, r := range file.File.Registries {
		key := "registries." + host
		if err := add(host, host, key, r.Credentials); err != nil {
			return nil, err
		}
		for path, p := range r.Paths {
			if err := add(host+"/"+path, host, key+".paths."+path, p.Credentials); err != nil {
				return nil, err
			}
		}
	}
	if len(hosts) == 0 {
		return rest, nil
	}
	return auth.ByHost{Hosts: hosts, Rest: rest}, nil
}

// credential is what the file gives one place, under a key.
func credential(host, key string, c config.Credentials, from clouds) (auth.Provider, error) {
	var provider auth.Provider
	var err error
	switch {
	case c.None:
		return auth.Named{Provider: auth.Anonymous{}, Source: "none, says " + key}, nil
	case c.AuthFile != "":
		provider, err = auth.OpenFile(c.AuthFile)
	case c.Google != nil:
		provider, err = from.google(host, *c.Google)
	case c.Azure != nil:
		provider = from.azure(*c.Azure)
	default:
		return auth.Named{Provider: auth.Static{host: c.Credential()}, Source: key}, nil
	}
	if err != nil {
		return nil, usageErrorf("%s: %w", key, err)
	}
	return provider, nil
}

// settingsOf returns how a host is spoken to: by the flags where they say something,
// else by the file.
func settingsOf(file *config.Config, run *runFlags, certDir string) func(host string) registry.Settings {
	folders := certs.Folders(os.LookupEnv)
	return func(host string) registry.Settings {
		said := file.File.Registries[host]
		limits := run.limits.over(said.Limits)
		s := registry.Settings{
			CA:            said.TLS.CA,
			Cert:          said.TLS.Cert,
			Key:           said.TLS.Key,
			CertDir:       said.TLS.CertDir,
			CertFolders:   folders,
			SmallRequests: limits.Requests,
			BlobStreams:   limits.BlobStreams,
		}
		switch {
		case slices.Contains(run.insecure, host):
			s.Security = registry.Insecure
		case said.TLS.PlainHTTP:
			s.Security = registry.Plain
		case said.TLS.Insecure:
			s.Security = registry.Unverified
		}
		if said.TLS.MinVersion == "1.3" {
			s.MinVersion = tls.VersionTLS13
		}
		if certDir != "" {
			s.CertDir = certDir
		}
		return s
	}
}

// bucketsOf returns how a bucket is reached and written to.
func bucketsOf(file *config.Config) func(host string) bucket.Settings {
	return func(host string) bucket.Settings {
		r := file.File.Registries[host]
		s := bucket.Settings{
			Endpoint: r.S3.Endpoint, Region: r.S3.Region, PathStyle: r.S3.PathStyle, Bucket: r.S3.Bucket, Folder: r.S3.Folder,
			Profile: r.S3.Profile, Role: r.S3.Role,
			ACL: r.S3.ACL, StorageClass: r.S3.StorageClass, KMSKey: r.S3.KMSKey, MaxAge: r.S3.MaxAge(),
			SmallRequests: r.Limits.Requests, BlobStreams: r.Limits.BlobStreams,
		}
		if r.Credentials != nil {
			key := r.Credentials.Credential()
			s.AccessKey, s.SecretKey = key.Username, key.Password.Reveal()
		}
		return s
	}
}
