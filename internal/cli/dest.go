package cli

import (
	"bufio"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
)

// destFlags say who writes to the destination of a copy.
type destFlags struct {
	creds         string
	passwordStdin bool
	token         string
	authFile      string
}

func (f *destFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.creds, "dest-creds", "", "`USERNAME[:PASSWORD]` for the registry of --dest, and for no other; rather set $ECR_MIRROR_SYNC_DEST_CREDS, which no process list shows")
	flags.BoolVar(&f.passwordStdin, "dest-password-stdin", false, "read the password of --dest-creds from standard input")
	flags.StringVar(&f.token, "dest-token", "", "bearer `TOKEN` for the registry of --dest; rather set $ECR_MIRROR_SYNC_DEST_TOKEN")
	flags.StringVar(&f.authFile, "dest-authfile", "", "auth `FILE` for the registry of --dest, as docker and podman write it (default: the usual places)")
}

// given reports whether the flags say anything.
func (f *destFlags) given() bool {
	return f.creds != "" || f.passwordStdin || f.token != "" || f.authFile != ""
}

// writing returns who writes to which host, as far as the flags say: to the one registry
// that all destinations are in. It is empty where they say nothing.
func (f *destFlags) writing(streams Streams, to []destination) (map[string]auth.Provider, error) {
	if !f.given() {
		return nil, nil
	}
	host, err := oneHost(to)
	if err != nil {
		return nil, err
	}
	if f.authFile != "" {
		if f.creds != "" || f.passwordStdin || f.token != "" {
			return nil, usageErrorf("--dest-authfile goes with no other credential of the destination")
		}
		file, err := auth.OpenFile(f.authFile)
		if err != nil {
			return nil, usageErrorf("--dest-authfile: %w", err)
		}
		return map[string]auth.Provider{host: file}, nil
	}
	cred, err := f.credential(streams)
	if err != nil {
		return nil, err
	}
	said := "--dest-creds"
	if f.token != "" {
		said = "--dest-token"
	}
	return map[string]auth.Provider{host: auth.Named{Provider: auth.Static{host: cred}, Source: said}}, nil
}

// oneHost returns the registry that all destinations are in.
func oneHost(to []destination) (string, error) {
	host := to[0].Host
	if host == "" {
		return "", usageErrorf("--dest-creds, --dest-token and --dest-authfile are for the registry of --dest, which is missing")
	}
	for _, other := range to {
		switch {
		case other.Scheme() != "":
			return "", usageErrorf("--dest-creds, --dest-token and --dest-authfile are for a registry, and --dest %s is none", other.Repository)
		case other.Host != host:
			return "", usageErrorf("--dest-creds, --dest-token and --dest-authfile are for one registry, and the destinations are in %s and %s: copy to one at a time, or give each its credentials in a file (--config)", host, other.Host)
		}
	}
	return host, nil
}

// credential puts the one credential together that the flags give.
func (f *destFlags) credential(streams Streams) (auth.Credential, error) {
	user, password, _ := strings.Cut(f.creds, ":")
	switch {
	case f.token != "" && (f.creds != "" || f.passwordStdin):
		return auth.Credential{}, usageErrorf("--dest-token goes with no user or password")
	case f.token != "":
		return auth.Credential{RegistryToken: auth.Secret(f.token)}, nil
	case user == "":
		return auth.Credential{}, usageErrorf("the destination's password needs a user: --dest-creds USERNAME")
	case f.passwordStdin && password != "":
		return auth.Credential{}, usageErrorf("--dest-creds and --dest-password-stdin give two passwords")
	}
	if f.passwordStdin {
		var err error
		if password, err = passwordFrom(streams, "--dest-password-stdin"); err != nil {
			return auth.Credential{}, err
		}
	}
	if password == "" {
		return auth.Credential{}, usageErrorf("--dest-creds names a user without a password: add --dest-password-stdin, or set $%sDEST_CREDS to USERNAME:PASSWORD", environmentPrefix)
	}
	return auth.Credential{Username: user, Password: auth.Secret(password)}, nil
}

// passwordFrom reads a password from standard input, for a flag.
func passwordFrom(streams Streams, flag string) (string, error) {
	line, err := bufio.NewReader(streams.In).ReadString('\n')
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return "", usageErrorf("%s: standard input holds no password (%v)", flag, err)
	}
	return password, nil
}
